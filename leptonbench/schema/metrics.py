"""Every metric, declared once: tag, unit, direction, title and formula. Reports and exports need no code per metric."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class MetricSpec(NamedTuple):
    """One metric's declaration. `formula` is shown to readers as its definition."""

    tag: str
    unit: str
    direction: Direction
    title_en: str
    title_zh: str
    formula: str


_LOWER, _HIGHER, _NEITHER = Direction.LOWER, Direction.HIGHER, Direction.NEITHER

METRICS: dict[str, MetricSpec] = {
    spec.tag: spec
    for spec in (
        MetricSpec(
            "latency_p50", "s", _LOWER, "Latency p50", "延迟 p50", "median over rounds of each round's 50th percentile"
        ),
        MetricSpec(
            "latency_p90",
            "s",
            _LOWER,
            "Latency p90",
            "延迟 p90",
            "90th percentile of the queries of all rounds together; its interval reaches at least to the latency that "
            "MLPerf's early stopping certifies at 99 % confidence; absent below 64 queries",
        ),
        MetricSpec(
            "latency_p99",
            "s",
            _LOWER,
            "Latency p99",
            "延迟 p99",
            "as p90, for the 99th percentile; absent below 662 queries",
        ),
        MetricSpec(
            "latency_p999",
            "s",
            _LOWER,
            "Latency p99.9",
            "延迟 p99.9",
            "as p90, for the 99.9th percentile; absent below 6,636 queries",
        ),
        MetricSpec("latency_mean", "s", _LOWER, "Latency mean", "平均延迟", "median over rounds of each round's mean"),
        MetricSpec(
            "throughput",
            "1/s",
            _HIGHER,
            "Throughput",
            "吞吐量",
            "single-stream: queries / time; multi-stream: samples a query / mean latency; offline: samples / time to "
            "the last; server: answers / time at the last rate tried, which counts if every round met the target at it",
        ),
        MetricSpec(
            "load_time",
            "s",
            _LOWER,
            "Load time",
            "加载时间",
            "import the engine and open the artifact, until the session is ready; files are usually in the page cache",
        ),
        MetricSpec(
            "first_inference",
            "s",
            _LOWER,
            "First inference",
            "首次推理",
            "the first run of the session, before any warm-up",
        ),
        MetricSpec(
            "preprocess",
            "s",
            _LOWER,
            "Pre-processing",
            "预处理",
            "median time to turn one raw sample into input tensors",
        ),
        MetricSpec(
            "postprocess",
            "s",
            _LOWER,
            "Post-processing",
            "后处理",
            "median time to turn one sample's outputs into an answer",
        ),
        MetricSpec(
            "peak_memory",
            "B",
            _LOWER,
            "Peak memory",
            "峰值内存",
            "peak resident set of the worker process, with the harness and its prepared samples",
        ),
        MetricSpec(
            "peak_device_memory",
            "B",
            _LOWER,
            "Peak device memory",
            "设备峰值显存",
            "GPU memory in use after the timed run, contexts included: engines keep what they once took",
        ),
        MetricSpec(
            "real_time_factor",
            "1",
            _LOWER,
            "Real-time factor",
            "实时率",
            "median over rounds of mean latency / mean duration of the samples; below 1 the engine keeps up",
        ),
        MetricSpec("model_size", "B", _LOWER, "Model size", "模型大小", "bytes of the artifact on disk"),
        MetricSpec(
            "stored_size",
            "B",
            _LOWER,
            "Stored size",
            "存储大小",
            "bytes of the weights as they are kept and sent: codebooks and indices, masks and non-zeros; engines "
            "expand them when they load",
        ),
        MetricSpec("macs", "1", _LOWER, "MACs", "乘加次数", "multiply-accumulates of one sample, counted on the graph"),
        MetricSpec("parameters", "1", _LOWER, "Parameters", "参数量", "weights, counted on the graph"),
        MetricSpec(
            "quality", "1", _HIGHER, "Quality", "质量", "the workload's accuracy metric on the evaluation split"
        ),
        MetricSpec(
            "quality_delta",
            "1",
            _HIGHER,
            "Quality vs fp32",
            "相对 fp32 的质量差",
            "quality minus the fp32 variant's on the same backend, paired over the same samples",
        ),
        MetricSpec(
            "energy_per_inference",
            "J",
            _LOWER,
            "Energy per inference",
            "每次推理能耗",
            "energy of the meter's window, which is LoadGen's run from its start to its log read back / samples "
            "completed in it",
        ),
        MetricSpec(
            "dynamic_energy_per_inference",
            "J",
            _LOWER,
            "Dynamic energy per inference",
            "每次推理动态能耗",
            "as energy per inference, without what the device draws when it is idle",
        ),
        MetricSpec(
            "wall_energy_per_inference",
            "J",
            _LOWER,
            "Wall energy per inference",
            "每次推理整机能耗",
            "the same window at the wall plug: what the meter saw, through the power supply, and the host's modelled "
            "wall energy; cells whose meters have different boundaries are compared by it",
        ),
        MetricSpec(
            "cost_per_million",
            "USD",
            _LOWER,
            "Rented, per million",
            "租用成本/百万次",
            "on-demand price per hour x share of the machine / (throughput x utilisation); its method says where no "
            "latency target was checked",
        ),
        MetricSpec(
            "owned_cost_per_million",
            "USD",
            _LOWER,
            "Owned, per million",
            "自有成本/百万次",
            "capital, hosting, maintenance and electricity per hour x share / (throughput x utilisation); its method "
            "says where no latency target was checked",
        ),
        MetricSpec(
            "speedup",
            "1",
            _HIGHER,
            "Speedup",
            "加速比",
            "streams: fp32's latency p50 / this cell's; server, offline: this cell's throughput / fp32's; same backend "
            "and scenario; a server's has the resolution of its search for a rate as its range",
        ),
        MetricSpec(
            "theoretical_speedup",
            "1",
            _NEITHER,
            "Theoretical speedup",
            "理论加速比",
            "fp32 MACs / this artifact's MACs x peak arithmetic ratio of its precision on this CPU",
        ),
    )
}
