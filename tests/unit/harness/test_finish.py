"""What a record gets from its siblings: the verdict on its quality, and the evidence of causes."""

from __future__ import annotations

import pytest

from leptonbench import catalog
from leptonbench.harness.finish import Siblings, with_baseline
from leptonbench.paths import data_root
from leptonbench.schema import CellRecord, IsaTable, Status
from leptonbench.tasks.top1 import Top1
from tests.harness_factory import artifact, cell, round_record, score

ISA = catalog.load_yaml(data_root() / "hardware_profiles" / "isa.yaml", IsaTable)
TARGETS = [0] * 100
PERFECT = score(TARGETS, TARGETS, group="fp32")
WORSE = score([1] * 10 + [0] * 90, TARGETS, group="int8")


def _record(variant: str, p50_s: float = 0.01, **profile: float) -> CellRecord:
    rounds = tuple(
        round_record(
            index, values={"latency_p50": p50_s}, profile={"seconds": profile, "counts": {}} if profile else {}
        )
        for index in range(3)
    )
    precision = "int8" if variant.startswith("int8") else "fp32"
    return CellRecord(
        cell=cell(variant), status=Status.OK, rounds=rounds, artifact=artifact(precision), meets_quality=True
    )


def _siblings(**changes: object) -> Siblings:
    fields = {"base": _record("fp32"), "score": WORSE, "base_score": PERFECT, "metric": Top1(), "relative_floor": 0.99}
    return Siblings(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("relative_floor", "meets"), [(0.99, False), (0.85, True)])
def test_a_variant_is_held_to_what_fp32_reaches(relative_floor: float, meets: bool) -> None:
    found = with_baseline(_record("int8-static"), _siblings(relative_floor=relative_floor), flags=(), table=ISA)
    assert found.meets_quality is meets


def test_without_fp32s_score_the_verdict_is_unknown_and_says_so() -> None:
    found = with_baseline(_record("int8-static"), _siblings(base=None, base_score=None), flags=(), table=ISA)
    assert found.meets_quality is None
    assert [notice.code for notice in found.warnings] == ["no-baseline"]


def test_below_its_own_floor_a_variant_fails_with_or_without_fp32() -> None:
    record = _record("int8-static").model_copy(update={"meets_quality": False})
    found = with_baseline(record, _siblings(base=None, base_score=None), flags=(), table=ISA)
    assert found.meets_quality is False


def test_fp32_is_its_own_baseline() -> None:
    record = _record("fp32")
    found = with_baseline(record, _siblings(base=record, score=PERFECT), flags=(), table=ISA)
    assert found.meets_quality is True
    assert not found.warnings


def test_causes_rest_on_the_profiles_of_the_cells_own_rounds() -> None:
    base = _record("fp32", Conv=0.010)
    fewer = _record("prune50-channel", Conv=0.0099).model_copy(update={"artifact": artifact("fp32", macs=1)})
    found = with_baseline(fewer, _siblings(base=base, score=PERFECT), flags=(), table=ISA)
    assert [cause.code for cause in found.causes] == ["small-products"]
    bare = with_baseline(fewer, _siblings(base=_record("fp32"), score=PERFECT), flags=(), table=ISA)
    assert [cause.code for cause in bare.causes] == ["not-found"]
