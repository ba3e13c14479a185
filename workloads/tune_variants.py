"""Make the tuned weights that ship with a workload: pruned, sparse and distilled, by the same code as in place.

    python workloads/tune_variants.py --workload inspection
    python workloads/tune_variants.py --workload inspection --variant prune50-channel --variant distill-half
    python workloads/tune_variants.py --workload inspection --check

Each variant's steps up to the last that tunes are applied to the workload's model on the TRAIN split of its data, in
full length, and the result is written to `workloads/<workload>/tuned/<variant>/`. Quality before and after is measured
on the calibration split, which tuning does not see, and written beside the weights. `--check` trains nothing and
measures what is there on the evaluation split.

The seed fixes data, order and everything random. Another CPU or thread count sums in another order, so weights agree
in kind and quality, not in bytes. An interrupted run goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from leptonbench.catalog import load_variant, load_workload, variant_names
from leptonbench.compression import TECHNIQUES
from leptonbench.compression.base import Context, Tuning
from leptonbench.compression.recipe import Kept, apply_module_steps, check_order
from leptonbench.compression.shipped import find_tuned
from leptonbench.compression.source import ModelSource, resolve_source
from leptonbench.compression.tuned import load_tuned
from leptonbench.paths import cache_dir
from leptonbench.schema import DataSpec, StepSpec
from leptonbench.tasks import TASKS, Arrays, Split, Task, TaskSetup, stack
from leptonbench.tasks.network import Network

SEED = 2027  # of the order of batches; the data's own seed is in workload.yaml
BATCH = 16


class Bench:
    """One workload with its model, and what techniques may use of it."""

    def __init__(self, name: str, *, seed: int, budget_s: float | None) -> None:
        workload, self.folder = load_workload(name)
        self.source: ModelSource = resolve_source(workload.model, self.folder)
        setup = TaskSetup(model_dir=self.source.folder, data=workload.data, workload_dir=self.folder)
        self.task: Task = TASKS.get(workload.task)(setup)
        self.name, self.data, self.seed, self.budget_s = name, workload.data, seed, budget_s

    def kept(self, data: DataSpec) -> Kept:
        """Return where tuned networks are kept while they are made: outside the repository."""
        folder = cache_dir() / "tune_variants" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        told = f"{self.name} {data.model_dump_json()}"
        return Kept(self.source.sha256, None, folder, told, self.seed, self.budget_s)

    def load(self, folder: Path, weights: bool) -> Network:
        """Load a network of the workload's task."""
        return self.task.load_network(folder, weights=weights)

    def tuning(self) -> Tuning:
        """Return how techniques train: on the TRAIN split, scored on the calibration split."""
        lesson = self.task.lesson(Split.TRAIN)
        return Tuning(lesson, self.seed, Path(), self.budget_s, lambda network: self.score(network, Split.CALIBRATION))

    def calibration(self) -> Iterator[Arrays]:
        """Yield the calibration samples."""
        samples = self.task.samples(Split.CALIBRATION)
        return (self.task.encode(samples.raw(index)) for index in range(len(samples)))

    def score(self, network: Network, split: Split) -> float:
        """Return the workload's metric over a split."""
        samples, answers = self.task.samples(split), []
        for start in range(0, len(samples), BATCH):
            chosen = range(start, min(start + BATCH, len(samples)))
            batch = stack([self.task.encode(samples.raw(index)) for index in chosen])
            with torch.inference_mode():
                outputs = network(**{name: torch.from_numpy(array) for name, array in batch.items()})
            answers += self.task.decode([output.numpy() for output in outputs])
        quality = self.task.metric.quality(answers, [samples.target(index) for index in range(len(samples))])
        if quality.value is None:
            raise ValueError(f"no quality: {quality.why_null}")
        return round(float(quality.value), 4)


def tuned_steps(name: str) -> tuple[StepSpec, ...]:
    """Return a variant's steps up to the last that tunes; none for a variant without."""
    steps = load_variant(name).steps
    lengths = [index + 1 for index, step in enumerate(steps) if TECHNIQUES.get(step.technique).tunes]
    return steps[: max(lengths, default=0)]


def make(bench: Bench, variant: str, say: Callable[[str], None]) -> Path:
    """Tune one variant and write its folder."""
    steps = tuned_steps(variant)
    check_order(variant, steps)
    kept = bench.kept(bench.data)
    with tempfile.TemporaryDirectory() as scratch:
        context = Context(
            calibration=bench.calibration,
            tuning=bench.tuning,
            load_network=bench.load,
            source=bench.source.folder,
            workdir=Path(scratch),
            say=say,
        )
        apply_module_steps(bench.load(bench.source.folder, True), steps, context, kept=kept)
    target = bench.folder / "tuned" / variant.replace(":", "-")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(kept.place(steps), target)
    return target


def check(bench: Bench, variants: list[str]) -> None:
    """Measure the workload's model and its tuned networks on the evaluation split."""
    base = bench.score(bench.load(bench.source.folder, True), Split.EVALUATION)
    print(f"{'fp32':24} {base:.4f}", flush=True)
    for variant in variants:
        folder = find_tuned(bench.folder / "tuned", bench.source.sha256, tuned_steps(variant))
        if folder is None:
            print(f"{variant:24} not made yet", flush=True)
            continue
        network, document = load_tuned(folder, bench.load)
        quality = bench.score(network, Split.EVALUATION)
        size = (folder / "weights.safetensors").stat().st_size / 1e6
        known = {key: value for found in document["facts"].values() for key, value in found.items() if "qual" in key}
        print(f"{variant:24} {quality:.4f}  {quality / base:.2%} of fp32  {size:.1f} MB  {known}", flush=True)


def main() -> None:
    """Read the command line and make, or check, each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--variant", action="append", help="repeatable; without it, every variant that tunes")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--budget", type=float, help="seconds of training a variant; without it, in full length")
    parser.add_argument("--check", action="store_true", help="train nothing; measure what is there")
    given = parser.parse_args()
    bench = Bench(given.workload, seed=given.seed, budget_s=given.budget)
    variants = given.variant or [name for name in variant_names() if tuned_steps(name)]
    if given.check:
        check(bench, variants)
        return
    for variant in variants:
        begin = time.perf_counter()
        target = make(bench, variant, lambda line: print(line, flush=True))
        print(f"{target} after {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
