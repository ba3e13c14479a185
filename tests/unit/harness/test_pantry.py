"""A workload's artifacts are made by several children, and what they made is one result again."""

from __future__ import annotations

from pathlib import Path

from leptonbench import catalog
from leptonbench.errors import MeasurementError
from leptonbench.harness.jobs import PrepareJob, PrepareResult, PrepareTarget
from leptonbench.harness.pantry import _shares, _together
from tests.harness_factory import task

VARIANTS = ("fp32", "int8-static", "prune50-channel", "prune50-channel+int8-static", "fp16")


def job(tmp_path: Path) -> PrepareJob:
    targets = tuple(PrepareTarget(variant=catalog.load_variant(name), format="onnx") for name in VARIANTS)
    return PrepareJob(
        model="own", base=None, task=task(tmp_path, tmp_path), targets=targets, cache=str(tmp_path), seed=3
    )


def test_variants_of_one_network_stay_together(tmp_path: Path) -> None:
    whole = job(tmp_path)
    names = [[target.variant.name for target in share.targets] for share in _shares(whole, 2)]
    assert names == [["fp32", "int8-static", "fp16"], ["prune50-channel", "prune50-channel+int8-static"]]
    assert all(share.seed == 3 for share in _shares(whole, 2))


def test_there_are_no_more_shares_than_networks(tmp_path: Path) -> None:
    shares = _shares(job(tmp_path), 8)
    assert len(shares) == 3
    assert sorted(target.key for share in shares for target in share.targets) == sorted(f"{n}|onnx" for n in VARIANTS)


def test_a_child_that_died_costs_its_own_variants(tmp_path: Path) -> None:
    first, second = _shares(job(tmp_path), 2)
    made = PrepareResult(cached=("a",), data_sha256="d", model_dir="m")
    result = _together([(first, MeasurementError("it died", cause="signal 9")), (second, made)])
    assert set(result.failures) == {f"{name}|onnx" for name in ("fp32", "int8-static", "fp16")}
    assert result.failures["fp32|onnx"].cause == "signal 9"
    assert (result.cached, result.data_sha256, result.model_dir) == (("a",), "d", "m")
