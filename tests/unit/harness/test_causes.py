"""Causes follow from evidence: each check speaks where its evidence is and is silent where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from leptonbench.harness.causes import Evidence, Side, explain, wants_explanation
from leptonbench.report.i18n import LANGUAGES, Translator
from leptonbench.schema import Quantity

MACS = 1_800_000_000
FLOAT = {"Conv": 0.020, "Add": 0.001}
VNNI = frozenset({"avx2", "avx512_vnni"})


def _side(precision: str = "fp32", seconds: dict[str, float] | None = None, **changes: Any) -> Side:
    seconds = FLOAT if seconds is None else seconds
    fields: dict[str, Any] = {"executed": precision, "operators": {"Conv": 20, "Add": 8}, "macs": MACS}
    return Side(precision=precision, seconds=seconds, **{**fields, **changes})


def _evidence(variant: Side, *techniques: str, base: Side | None = None, **changes: Any) -> Evidence:
    fields: dict[str, Any] = {"machine": "x86_64", "features": VNNI}
    return Evidence(base=base or _side(), variant=variant, techniques=techniques, **{**fields, **changes})


def _codes(evidence: Evidence) -> list[str]:
    return [cause.code for cause in explain(evidence)]


def test_another_precision_than_the_labels_is_an_upcast() -> None:
    causes = explain(_evidence(_side("fp16", executed="fp32"), "cast"))
    assert [cause.code for cause in causes] == ["upcast"]
    assert causes[0].values == {"label": "fp16", "executed": "fp32"}


def test_zeros_on_the_same_products_gain_nothing() -> None:
    assert _codes(_evidence(_side(), "prune-weights")) == ["dense-kernels"]
    assert _codes(_evidence(_side(), "share-weights")) == ["shared-weights"]


def test_channels_that_are_gone_are_no_zeros() -> None:
    """Fewer MACs, or other products: the engine did do less, so that is not why."""
    assert "dense-kernels" not in _codes(_evidence(_side(macs=MACS // 2), "prune-weights"))
    assert "dense-kernels" not in _codes(_evidence(_side(operators={"Conv": 10}), "prune-weights"))


def test_a_technique_alone_establishes_nothing() -> None:
    """Without what the engine ran, zeros are no proof that it multiplied them."""
    assert _codes(_evidence(_side(operators={}), "prune-weights", base=_side(operators={}))) != ["dense-kernels"]


def test_dynamic_quantisation_is_charged_what_it_adds() -> None:
    seconds = {"ConvInteger": 0.030, "DynamicQuantizeLinear": 0.008, "Cast": 0.005, "Mul": 0.005, "Add": 0.002}
    causes = {cause.code: cause for cause in explain(_evidence(_side("int8", seconds), "quantize-dynamic"))}
    assert set(causes) == {"slow-integer-kernel", "dynamic-overhead"}
    assert causes["dynamic-overhead"].values["share"] == "36 %"
    assert causes["dynamic-overhead"].values["operators"].startswith("DynamicQuantizeLinear 16 %")
    assert causes["slow-integer-kernel"].values["ratio"] == "0.67"


def test_a_cheap_dynamic_quantisation_is_not_blamed() -> None:
    seconds = {"ConvInteger": 0.010, "DynamicQuantizeLinear": 0.0002, "Add": 0.001}
    assert "dynamic-overhead" not in _codes(_evidence(_side("int8", seconds), "quantize-dynamic"))


def test_signed_activations_are_named_only_where_they_cost() -> None:
    options = {"quantize-static": {"activations": "int8"}}
    slow, fast = _side("int8", {"QLinearConv": 0.030}), _side("int8", {"QLinearConv": 0.006})
    assert "signed-activations" in _codes(_evidence(slow, "quantize-static", options=options))
    assert "signed-activations" not in _codes(_evidence(fast, "quantize-static", options=options))
    assert "signed-activations" not in _codes(_evidence(slow, "quantize-static", options=options, machine="aarch64"))
    assert "signed-activations" not in _codes(_evidence(slow, "quantize-static"))


def test_a_cpu_without_vnni_is_named_with_the_kernels_it_uses() -> None:
    side = _side("int8", {"QLinearConv": 0.015}, accumulation="exact u8 x u8 kernels (no VNNI)")
    causes = explain(_evidence(side, "quantize-static", features=frozenset({"avx2"})))
    assert [cause.code for cause in causes] == ["no-vnni-exact"]
    assert causes[0].values == {"ratio": "1.33"}
    assert "no-vnni-exact" not in _codes(_evidence(side, "quantize-static"))


def test_products_left_in_float_between_conversions_are_found() -> None:
    seconds = {"QLinearConv": 0.002, "ConvTranspose": 0.008, "DequantizeLinear": 0.001, "QuantizeLinear": 0.001}
    causes = {cause.code: cause for cause in explain(_evidence(_side("int8", seconds), "quantize-static"))}
    assert causes["left-in-float"].values == {"share": "67 %", "operators": "ConvTranspose 67 %"}
    assert "conversions" in causes


def test_narrow_products_that_are_no_faster_are_small() -> None:
    base = _side(seconds={"MatMul": 0.010, "Add": 0.001}, operators={"MatMul": 100})
    side = _side("int8", {"QLinearMatMul": 0.010, "Add": 0.001}, operators={"QLinearMatMul": 100})
    causes = explain(_evidence(side, "quantize-static", base=base))
    assert [cause.code for cause in causes] == ["small-products"]
    assert causes[0].values == {"ratio": "1.00", "macs": "1.8e+07", "each": "100"}


def test_products_are_not_called_small_where_their_arithmetic_is_the_same() -> None:
    base = _side(seconds={"Conv": 0.010, "Add": 0.001})
    same = _side("fp32", {"Conv": 0.0099, "Add": 0.001})
    assert _codes(_evidence(same, "distill", base=base)) == ["not-found"]
    plain_arm = _evidence(
        _side("int8", {"QLinearConv": 0.010}), "quantize-static", base=base, machine="aarch64", features=frozenset()
    )
    assert _codes(plain_arm) == ["not-found"]


def test_fewer_products_in_the_same_time_are_small() -> None:
    base = _side(seconds={"Conv": 0.010})
    fewer = _side("fp32", {"Conv": 0.0099}, macs=MACS // 2)
    assert _codes(_evidence(fewer, "prune-channels", base=base)) == ["small-products"]


def test_unpacking_weights_is_named_with_its_own_cause() -> None:
    base = _side(seconds={"MatMul": 0.010}, operators={"MatMul": 50})
    side = _side("fp32", {"MatMulNBits": 0.012}, executed="fp32", operators={"MatMulNBits": 50})
    causes = explain(_evidence(side, "quantize-weights", base=base))
    assert [cause.code for cause in causes] == ["weights-unpacked"]
    assert causes[0].values == {"products": "50", "ratio": "0.83"}


def test_time_outside_products_bounds_the_speedup() -> None:
    base = _side(seconds={"Conv": 0.010, "Softmax": 0.010})
    causes = explain(_evidence(_side("int8", {"QLinearConv": 0.002, "Softmax": 0.010}), "quantize-static", base=base))
    assert [cause.code for cause in causes] == ["outside-products"]
    assert causes[0].values == {"share": "50 %", "bound": "2.00", "operators": "Softmax 50 %"}


def test_without_evidence_no_cause_is_claimed() -> None:
    bare = _side("int8", {}, executed=None, operators={})
    causes = explain(_evidence(bare, "quantize-static", base=_side(seconds={}, operators={})))
    assert [cause.code for cause in causes] == ["not-found"]
    assert causes[0].values == {"checked": "operators, precision"}


@pytest.mark.parametrize(
    ("speedup", "theory", "wanted"),
    [
        (None, None, False),
        ((1.02, 0.98, 1.06), None, True),
        ((0.7, 0.6, 0.8), None, True),
        ((1.5, 1.4, 1.6), None, False),
        ((1.5, 1.4, 1.6), 4.0, True),
        ((3.0, 2.8, 3.2), 4.0, False),
    ],
)
def test_a_reason_is_owed_where_a_variant_is_not_faster_or_far_below_theory(
    speedup: tuple[float, float, float] | None, theory: float | None, wanted: bool
) -> None:
    def quantity(value: float, low: float | None = None, high: float | None = None) -> Quantity:
        return Quantity(value=value, unit="1", low=low, high=high, provenance="measured")

    measured = None if speedup is None else quantity(*speedup)
    assert wants_explanation(measured, None if theory is None else quantity(theory)) is wanted


def test_a_side_is_read_from_what_a_session_says() -> None:
    effective = {"executed_precision": "int8", "operators": {"QLinearConv": 20}, "int8_accumulation": "native"}
    profile = {"seconds": {"QLinearConv": 0.01}, "counts": {"QLinearConv": 20}, "runs": 8}
    side = Side.of(MACS, "int8", effective, profile)
    assert (side.executed, side.accumulation, side.products()) == ("int8", "native", {"QLinearConv": 20})
    bare = Side.of(MACS, "int8", {}, {"seconds": {"Convolution": 0.01}, "counts": {"Convolution": 3}})
    assert bare.products() == {"Convolution": 3}
    assert Side.of(MACS, "fp32", {}, None).total_s == 0


EVIDENCE = {
    "upcast": {"label": "fp16", "executed": "fp32"},
    "dense-kernels": {"products": "20", "macs": "1.8e+09"},
    "shared-weights": {"products": "20", "macs": "1.8e+09"},
    "signed-activations": {"ratio": "0.70"},
    "no-vnni-exact": {"ratio": "1.33"},
    "no-vnni": {"ratio": "1.33"},
    "slow-integer-kernel": {"ratio": "0.67", "operators": "ConvInteger 60 %"},
    "weights-unpacked": {"products": "50", "ratio": "0.83"},
    "dynamic-overhead": {"share": "36 %", "operators": "Cast 10 %"},
    "left-in-float": {"share": "67 %", "operators": "ConvTranspose 67 %"},
    "conversions": {"share": "20 %", "operators": "Cast 10 %"},
    "small-products": {"ratio": "1.00", "macs": "1.8e+07", "each": "100"},
    "outside-products": {"share": "50 %", "bound": "2.00", "operators": "Softmax 50 %"},
    "not-found": {"checked": "operators"},
}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", EVIDENCE)
def test_every_cause_has_its_words(lang: str, code: str) -> None:
    translate = Translator(lang)
    text = str(translate(f"cause.{code}.text", **EVIDENCE[code]))
    assert all(value in text for value in EVIDENCE[code].values())
    assert translate(f"cause.{code}.hint")
