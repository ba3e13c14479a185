"""Predictions of other people's accelerators: what is shared, read, left out and summed up."""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leptonbench.cli.app import invoke
from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.scoreboard import document, report
from leptonbench.fpga.scoreboard.accelerators import Accelerator, configure, load_catalogue
from leptonbench.fpga.scoreboard.contention import throughput
from leptonbench.fpga.scoreboard.estimate import ArrayShape, Estimate, Estimator, Supply
from leptonbench.fpga.scoreboard.networks.drawing import Drawing
from leptonbench.fpga.scoreboard.page import with_tables
from leptonbench.fpga.scoreboard.published import Figure, Figures, load_figures
from leptonbench.fpga.scoreboard.score import Estimators, HostTime, host_time, score

HEADER = "system,board,network,precision,macs_per_cycle,clock_mhz,batch_or_threads,fps\n"
ARRAY = ArrayShape(pixels=8, lane_pixels=4, rows=16, cols=16, on_chip_bytes=1 << 20, row_wise=False)
catalogue = functools.cache(load_catalogue)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path / "cache"))


def _small() -> ir.Network:
    net = Drawing((3, 32, 32))
    net.convolve(net.source, 16)
    return net.network()


# ---- cores that share a DRAM


class _Roofline(Estimator):
    """An estimator whose networks take the longer of a time for products and a time for bytes."""

    def __init__(self, compute_s: float, dram_bytes: int) -> None:
        super().__init__(ARRAY, 300e6, keep=False)
        self.compute_s, self.dram_bytes = compute_s, dram_bytes

    def network(self, network: ir.Network, supply: Supply, progress: Callable[[], None] | None = None) -> Estimate:
        seconds = max(self.compute_s, self.dram_bytes / supply.bytes_per_s)
        return Estimate(seconds=seconds, dram_bytes=self.dram_bytes, macs=1)


def _shared(cores: int, *, port_bytes_per_s: float = float("inf")) -> Accelerator:
    return Accelerator(
        family="any",
        cores=cores,
        array=ARRAY,
        clock_hz=300e6,
        port_bytes_per_s=port_bytes_per_s,
        dram_bytes_per_s=1e9,
        dram_latency_s=1e-7,
    )


def _rate(cores: int, compute_s: float, dram_bytes: int, **options: float) -> float:
    estimator = _Roofline(compute_s, dram_bytes)
    return throughput(_shared(cores, **options), estimator, _small(), active=cores).frames_per_s


def test_cores_that_hardly_need_the_dram_do_not_slow_one_another() -> None:
    assert _rate(4, 1.0, 1000) == pytest.approx(4 * _rate(1, 1.0, 1000))


def test_cores_that_only_wait_for_the_dram_share_it() -> None:
    assert _rate(1, 1e-6, 10**9) == pytest.approx(1)
    for cores in (2, 3, 7):
        assert _rate(cores, 1e-6, 10**9) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("bytes_share", [0.2, 0.4, 0.6, 0.9])
def test_sharing_lies_between_an_even_share_and_none(bytes_share: float) -> None:
    compute_s, dram_bytes = 1.0, int(bytes_share * 1e9)
    rates = [_rate(cores, compute_s, dram_bytes) for cores in range(1, 6)]
    assert all(later >= rate * (1 - 1e-9) for rate, later in itertools.pairwise(rates))  # one core more never costs
    for cores, rate in enumerate(rates, start=1):
        even = cores / max(compute_s, cores * bytes_share)
        assert even * (1 - 1e-6) <= rate <= cores * rates[0] * (1 + 1e-9)
        assert rate * bytes_share <= 1 + 1e-6  # no more than there is


def test_a_port_bounds_a_core_and_not_the_dram() -> None:
    assert _rate(1, 1e-6, 10**9, port_bytes_per_s=2.5e8) == pytest.approx(0.25)
    assert _rate(2, 1e-6, 10**9, port_bytes_per_s=2.5e8) == pytest.approx(0.5)
    assert _rate(8, 1e-6, 10**9, port_bytes_per_s=2.5e8) == pytest.approx(1)


# ---- published figures


def _file(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "figures.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_each_published_row_is_used_or_left_out_for_a_reason() -> None:
    found = load_figures(catalogue())
    assert sum(figure.releases for figure in found.used) + sum(found.left_out.values()) == found.rows
    assert found.rows > 1500
    assert sum(figure.releases for figure in found.used) > 550
    families = {figure.accelerator.family for figure in found.used}
    assert families == {"DPUCZDX8G", "DPUCAHX8H", "CHaiDNN-v2"}


def test_a_published_peak_is_the_arrays() -> None:
    figure = next(one for one in load_figures(catalogue()).used if one.system == "10x DPUCAHX8H")
    assert figure.accelerator.cores == 10
    assert figure.accelerator.array.macs_per_cycle == 2048
    for family in catalogue().families:
        for shape in family.shapes:
            assert shape.pixels * shape.rows * shape.cols == shape.macs_per_cycle


@pytest.mark.parametrize(
    ("system", "macs", "reason"),
    [
        ("2x DPUCADX8G", None, "the array's shape is not published"),
        ("FINN dataflow", None, "dataflow: a stage of its own for each layer, not one array in turn"),
        ("something new", 100, "array, clock or memory are not published"),
        ("2x DPUCZDX8G B4096", 2048, "no array of 1024 multiply-accumulates a cycle is known of this design"),
        ("1x DPUCZDX8G B4096", None, "array or clock are not published"),
    ],
)
def test_systems_that_are_left_out_say_why(system: str, macs: float | None, reason: str) -> None:
    assert configure(catalogue(), system, "ZCU104", macs_per_cycle=macs, clock_hz=3e8) == reason


def test_releases_of_one_configuration_are_one_figure(tmp_path: Path) -> None:
    start = "1x DPUCZDX8G B4096F,KV260,cf_resnet18_imagenet_224_224_3.65G,int8,2048,300"
    found = load_figures(
        catalogue(), _file(tmp_path, f"{start},multi-thread,210", f"{start},multi-thread,220", f"{start},1 thread,180")
    )
    assert [(one.frames_per_s, one.releases, one.single) for one in found.used] == [(215, 2, False), (180, 1, True)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("CHaiDNN-v2 128 compute DSP,ZCU102 (ZU9),AlexNet w/o FC,int6,256,600,,120", "not 8-bit integers"),
        ("CHaiDNN-v2 128 compute DSP,ZCU102 (ZU9),AlexNet w/ FC,int8,128,600,,10", "fully connected layers ran on"),
        ("1x DPUCZDX8G B4096F,KV260,unheard_of_1G,int8,2048,300,1 thread,10", "the network is not drawn here"),
        (
            "1x DPUCZDX8G B4096F,KV260,tf_vgg16_imagenet_224_224_20G,int8,2048,300,1 thread,10",
            "our drawing has 30.94e9",
        ),
        (
            "1x DPUCZDX8G B4096F,elsewhere,tf_vgg16_imagenet_224_224_30.96G,int8,2048,300,1 thread,1",
            "the board's memory",
        ),
        (
            "1x DPUCZDX8G B4096F,KV260,torchvision_resnet50,int8,2048,300,1 thread,70",
            "the source does not say how many",
        ),
        ("1x DPUCZDX8G B4096F,KV260,tf_vgg16_imagenet_224_224_30.96G,int8,2048,300,1 thread,", "no rate is published"),
    ],
)
def test_rows_that_are_left_out_say_why(tmp_path: Path, row: str, reason: str) -> None:
    (given,) = load_figures(catalogue(), _file(tmp_path, row)).left_out
    assert given.startswith(reason)


@pytest.mark.parametrize(
    ("text", "message", "cause"),
    [
        ("system,board\na,b\n", "has no published figures", "network"),
        (HEADER, "has no published figures", "no rows"),
        (HEADER + "1x DPUCZDX8G B4096F,KV260,n,int8,2048,fast,1 thread,1\n", "line 2: `clock_mhz` is not a", "fast"),
        (HEADER + "1x DPUCZDX8G B4096F,KV260,n,int8,2048,-3,1 thread,1\n", "line 2: `clock_mhz` is not a", "-3"),
        (HEADER + "1x DPUCZDX8G B4096F,KV260,n,int8,nan,300,1 thread,1\n", "line 2: `macs_per_cycle` is", "nan"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, text: str, message: str, cause: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_figures(catalogue(), path)
    assert cause in str(caught.value)


def test_a_bad_catalogue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "accelerators.yaml"
    path.write_text("boards: 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not a catalogue of accelerators"):
        load_catalogue(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_catalogue(tmp_path / "none.yaml")


# ---- scores


def _figure(*, board: str, threads: str, rate: float, network: str = "small") -> Figure:
    return Figure(
        system="2x any",
        board=board,
        network=network,
        threads=threads,
        clock_mhz=300,
        frames_per_s=rate,
        releases=1,
        sources=("",),
        accelerator=dataclasses.replace(_shared(2), dram_bytes_per_s=1e12),
        drawing=_small(),
    )


def test_the_hosts_time_is_fitted_to_pairs_of_one_board_only() -> None:
    pixels = 32 * 32
    pairs = [
        _figure(board=board, threads=threads, rate=rate, network=f"{board}{number}")
        for board, host_s in (("Ultra96", 1e-3), ("KV260", 5e-3))
        for number, frame_s in enumerate((0.01, 0.02, 0.05))
        for threads, rate in (("1 thread", 1 / (frame_s + host_s)), ("multi-thread", 1 / frame_s))
    ]
    found = host_time(Figures(used=tuple(pairs), rows=12, left_out={}))
    assert found is not None
    assert found.pairs == 3
    assert found.s_per_pixel == pytest.approx(1e-3 / pixels)
    assert host_time(Figures(used=tuple(pairs[:2]), rows=2, left_out={})) is None


def test_errors_are_signed_and_fitted_figures_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Estimators, "of", lambda *_: _Roofline(0.1, 0))
    used = (
        _figure(board="KV260", threads="multi-thread", rate=10),  # predicted 20: two cores
        _figure(board="KV260", threads="1 thread", rate=10),  # predicted 5: 0.1 s and as much of the host
        _figure(board="Ultra96", threads="1 thread", rate=5),
    )
    host = HostTime(s_per_pixel=0.1 / 32**2, low=0, high=1, pairs=2)
    found = score(Figures(used=used, rows=3, left_out={}), host, Estimators(keep=False))
    assert [one.error for one in found.predictions] == pytest.approx([1.0, -0.5, 0.0])
    assert [one.calibration for one in found.predictions] == [False, False, True]
    peak = ARRAY.macs_per_cycle * 300e6
    assert [one.published_utilisation * peak for one in found.predictions] == pytest.approx([5, 10, 5])
    groups = {summary.name: summary for summary in found.summaries}
    assert groups["accelerator alone, all"].median == pytest.approx(1.0)
    assert groups["with the host's time, all"].figures == 1
    assert groups["any, Ultra96, 1 thread"].calibration
    assert groups["accelerator alone, all"].low is None
    assert not score(Figures(used=used[1:], rows=2, left_out={}), None, Estimators(keep=False)).predictions


def test_rates_go_with_the_array_as_published() -> None:
    """CHaiDNN's AlexNet from 128 to 1024 MAC a cycle, published: each doubling gains less, and eight times gain six."""
    figures = load_figures(catalogue())
    used = sorted(
        (one for one in figures.used if one.network == "AlexNet w/o FC" and one.board.startswith("ZCU102")),
        key=lambda one: one.accelerator.array.macs_per_cycle,
    )
    found = score(dataclasses.replace(figures, used=tuple(used)), None, Estimators(keep=False)).predictions
    assert [one.figure.accelerator.array.macs_per_cycle for one in found] == [128, 256, 512, 1024]
    utilisations = [one.utilisation for one in found]
    assert utilisations == sorted(utilisations, reverse=True)
    predicted = found[-1].frames_per_s / found[0].frames_per_s
    assert predicted == pytest.approx(used[-1].frames_per_s / used[0].frames_per_s, rel=0.15)


# ---- the command


ROW = "CHaiDNN-v2 512 compute DSP,ZCU102 (ZU9),AlexNet w/o FC,int8,512,600,,236.59"


def test_the_command_tells_method_errors_and_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, ROW, ROW.replace("int8,512", "int6,1024"))
    assert invoke(["fpga", "scoreboard", "--published", str(path), "--figures"]) == 0
    text = capsys.readouterr().out
    for part in (
        "It tests the method",
        "236.6",
        "not 8-bit integers",
        "CHaiDNN-v2, ZCU102 (ZU9), all cores",
        "too few",
    ):
        assert part in text
    assert invoke(["fpga", "scoreboard", "--published", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["provenance"] == "simulated"
    (figure,) = told["figures"]
    assert figure["error"] == pytest.approx(figure["predicted_frames_per_s"] / 236.59 - 1)
    assert told["left_out"] == {"not 8-bit integers": 1}


def test_nothing_to_predict_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, ROW)
    assert invoke(["fpga", "scoreboard", "--published", str(path), "--system", "KV260"]) == 2
    assert "no figure is of a system like `KV260`" in capsys.readouterr().err


def test_a_report_is_plain_data(tmp_path: Path) -> None:
    found = document(report(published=_file(tmp_path, ROW), keep=False))
    assert json.loads(json.dumps(found)) == found
    assert found["fitted"]["host_s_per_pixel"]["pairs"] >= 10


def test_the_pages_tables_are_made_of_a_report(tmp_path: Path) -> None:
    found = report(published=_file(tmp_path, ROW, ROW.replace("int8,512", "int6,1024")), keep=False)
    page = with_tables("before\n<!-- scoreboard: begin -->\nold\n<!-- scoreboard: end -->\nafter\n", found)
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
    assert "| CHaiDNN-v2, ZCU102 (ZU9), all cores | no | 1 | 1 |" in page
    assert "| not 8-bit integers | 1 |" in page
    assert with_tables(page, found) == page


def test_the_bundled_figures_name_their_sources() -> None:
    from leptonbench.paths import data_root

    with (data_root() / "hardware_profiles" / "published" / "fpga_published.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["source"] and row["read"] for row in rows)
