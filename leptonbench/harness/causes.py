"""Why a variant is not faster than fp32 on the same engine: each cause is a check on evidence, none is a guess.

The evidence comes from the engines themselves: the graph that they run, the precision of its products, and their own
profile of a few inferences outside timing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from leptonbench.backends.base import VNNI_FEATURES
from leptonbench.schema import Quantity
from leptonbench.schema.cause import Cause

PRODUCTS = frozenset(
    {
        # ONNX Runtime
        *("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
        *("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"),
        *("DynamicQuantizeMatMul", "MatMulNBits"),
        # OpenVINO
        *("Convolution", "GroupConvolution", "Deconvolution"),
        *("FullyConnected", "FullyConnectedCompressed", "FullyConnectedQuantized", "FullyConnectedQuantizedLegacy"),
        # torch
        *("mkldnn_convolution", "_slow_conv2d_forward", "addmm", "mm", "bmm", "baddbmm"),
        # torch's compiler
        *("mkldnn::_convolution_pointwise", "mkldnn::_linear_pointwise", "mkl::_mkl_linear"),
    }
)
CONVERSIONS = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"),
        *("FakeQuantize", "Convert"),
        *("_to_copy", "copy_"),
    }
)
_DYNAMIC = frozenset({"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"})
_SPARSE = frozenset({"prune-weights", "sparse-2:4", "share-weights"})
_BITS = {"fp32": 32, "tf32": 19, "fp16": 16, "bf16": 16, "int8": 8}
_LESS_WORK = 0.8  # of fp32's multiply-accumulates: from there on products ought to be faster
_FAR = 0.5  # of the theoretical speedup: less than that is worth a reason even where a variant is faster
_NOTABLE = 0.1  # share of the time from which on it is named
_FASTER = 1.1  # ratio of products' times from which on they count as faster: profiles of a few runs are no finer
_OUTSIDE = 0.35  # share of fp32's time outside products from which on it bounds the speedup


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one cell.

    Attributes:
        macs: Multiply-accumulates of one sample.
        precision: What the variant is labelled with.
        executed: What most of its products ran in; `None` where the engine was not asked.
        operators: What the engine kept after its fusions, by kind; empty where it does not tell.
        seconds: The engine's profile of one inference, by kind of operator; empty where there is none.
        accumulation: How 8-bit products are summed, where the engine says.
    """

    macs: int
    precision: str
    executed: str | None = None
    operators: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    accumulation: str = ""

    @classmethod
    def of(cls, macs: int, precision: str, effective: Mapping[str, Any], profile: Mapping[str, Any] | None) -> Side:
        """Gather a side from what a session said of itself and its profile, as a record holds them."""
        profile = profile or {}
        return cls(
            macs=macs,
            precision=precision,
            executed=effective.get("executed_precision"),
            operators=effective.get("operators") or profile.get("counts", {}),
            seconds=profile.get("seconds", {}),
            accumulation=str(effective.get("int8_accumulation", "")),
        )

    @property
    def total_s(self) -> float:
        """Return the seconds of all operators."""
        return sum(self.seconds.values())

    def part_s(self, kinds: Collection[str]) -> float:
        """Return the seconds of some kinds of operators."""
        return sum(seconds for name, seconds in self.seconds.items() if name in kinds)

    def share(self, kinds: Collection[str]) -> float:
        """Return the share of the time in some kinds of operators; zero without a profile."""
        return self.part_s(kinds) / self.total_s if self.total_s else 0.0

    def products(self) -> dict[str, int]:
        """Return how many of each kind of product the engine runs."""
        return {name: count for name, count in self.operators.items() if name in PRODUCTS}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both cells, what made the variant, and the CPU.

    Attributes:
        base: The fp32 cell on the same engine.
        variant: The cell in question.
        techniques: Of the variant.
        options: Of its steps, by technique.
        machine: As `platform.machine()` says.
        features: Of the CPU, by their Linux names.
    """

    base: Side
    variant: Side
    techniques: tuple[str, ...]
    machine: str
    features: frozenset[str]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def x86(self) -> bool:
        """Return whether the CPU is x86-64."""
        return self.machine in ("x86_64", "AMD64")

    @property
    def product_ratio(self) -> float | None:
        """Return fp32's seconds in products over the variant's; `None` without both profiles."""
        before, after = self.base.part_s(PRODUCTS), self.variant.part_s(PRODUCTS)
        return before / after if before and after else None


def wants_explanation(speedup: Quantity | None, theoretical: Quantity | None) -> bool:
    """Say whether a cell's speedup calls for a reason: not clearly above one, or far below what arithmetic promises."""
    if speedup is None or speedup.value is None:
        return False
    low = speedup.value if speedup.low is None else speedup.low
    if low <= 1:
        return True
    return theoretical is not None and theoretical.value is not None and speedup.value < _FAR * theoretical.value


def explain(evidence: Evidence) -> list[Cause]:
    """Return every cause that the evidence establishes, the most decisive first; one that says so if none is."""
    found = [cause for check in _CHECKS if (cause := check(evidence)) is not None]
    if found:
        return found
    checked = "operators, precision" + (", profile" if evidence.product_ratio is not None else "")
    return [Cause(code="not-found", values={"checked": checked})]


def _upcast(evidence: Evidence) -> Cause | None:
    """The engine computes narrow floating-point weights in a wider type."""
    side = evidence.variant
    if side.executed is None or side.executed == side.precision or side.precision not in ("fp16", "bf16"):
        return None
    return Cause(code="upcast", values={"label": side.precision, "executed": side.executed})


def _dense(evidence: Evidence) -> Cause | None:
    """Zeros or shared weights in a network whose work is unchanged: as many MACs, the same products."""
    chosen = [name for name in evidence.techniques if name in _SPARSE]
    base, variant = evidence.base, evidence.variant
    if not chosen or not base.products() or base.products() != variant.products() or variant.macs < 0.98 * base.macs:
        return None
    code = "shared-weights" if chosen == ["share-weights"] else "dense-kernels"
    return Cause(code=code, values={"products": str(sum(variant.products().values())), "macs": f"{variant.macs:.3g}"})


def _dynamic(evidence: Evidence) -> Cause | None:
    """Ranges are found and tensors converted at run time, and that takes a part of the time worth naming."""
    side = evidence.variant
    if not _DYNAMIC & set(side.seconds):
        return None
    # Products of integers give 32-bit sums, which Cast and Mul turn into real values again.
    extra = CONVERSIONS | {"Mul"}
    share = side.share(extra) - evidence.base.share(extra)
    if share < _NOTABLE:
        return None
    return Cause(code="dynamic-overhead", values={"share": _percent(share), "operators": _largest(side, extra)})


def _signed(evidence: Evidence) -> Cause | None:
    """Signed activations on x86, whose instructions multiply unsigned by signed, in products that are not faster."""
    signed = evidence.options.get("quantize-static", {}).get("activations") == "int8"
    ratio = evidence.product_ratio
    if not signed or not evidence.x86 or ratio is None or ratio >= _FASTER:
        return None
    return Cause(code="signed-activations", values={"ratio": f"{ratio:.2f}"})


def _no_vnni(evidence: Evidence) -> Cause | None:
    """Integer products on x86 without the instructions for them."""
    ratio = evidence.product_ratio
    if evidence.variant.executed != "int8" or not evidence.x86 or evidence.features & VNNI_FEATURES or ratio is None:
        return None
    code = "no-vnni-exact" if evidence.variant.accumulation.startswith("exact") else "no-vnni"
    return Cause(code=code, values={"ratio": f"{ratio:.2f}"})


def _mixed(evidence: Evidence) -> Cause | None:
    """An int8 graph in which the engine left products in floating point between conversions."""
    side = evidence.variant
    if side.precision != "int8" or not side.seconds:
        return None
    floating = {name for name in side.seconds if name in {"Conv", "FusedConv", "ConvTranspose", "MatMul", "Gemm"}}
    both = side.share(floating)
    if both < _NOTABLE or side.share({"DequantizeLinear"}) <= 0:
        return None
    return Cause(code="left-in-float", values={"share": _percent(both), "operators": _largest(side, floating)})


def _conversions(evidence: Evidence) -> Cause | None:
    """Conversions between precisions that fp32 does not need."""
    side = evidence.variant
    share = side.share(CONVERSIONS) - evidence.base.share(CONVERSIONS)
    if share < _NOTABLE or _DYNAMIC & set(side.seconds):
        return None
    return Cause(code="conversions", values={"share": _percent(share), "operators": _largest(side, CONVERSIONS)})


def _outside(evidence: Evidence) -> Cause | None:
    """Much of fp32's own time is not in products at all."""
    base = evidence.base
    if not base.total_s or evidence.product_ratio is None:
        return None
    outside = 1 - base.share(PRODUCTS)
    if outside < _OUTSIDE:
        return None
    rest = set(base.seconds) - PRODUCTS
    values = {"share": _percent(outside), "bound": f"{1 / outside:.2f}", "operators": _largest(base, rest)}
    return Cause(code="outside-products", values=values)


def _unpacked(evidence: Evidence) -> Cause | None:
    """Weights of few bits that each product unpacks, to multiply as before."""
    side, ratio = evidence.variant, evidence.product_ratio
    count = side.operators.get("MatMulNBits", 0)
    if not count or ratio is None or ratio >= _FASTER:
        return None
    return Cause(code="weights-unpacked", values={"products": str(count), "ratio": f"{ratio:.2f}"})


def _less_arithmetic(evidence: Evidence) -> bool:
    """Say whether the products do less than fp32's: fewer of them, or narrower ones with the instructions for them."""
    base, side = evidence.base, evidence.variant
    if side.macs and base.macs and side.macs < _LESS_WORK * base.macs:
        return True
    wide = _BITS.get(base.executed or base.precision, 0)
    narrow = _BITS.get(side.executed or "", wide)
    return narrow < wide and (narrow > 8 or bool(evidence.features & VNNI_FEATURES))


def _small(evidence: Evidence) -> Cause | None:
    """Products that do less arithmetic and are no faster: too small, or they wait for memory."""
    ratio = evidence.product_ratio
    side = evidence.variant
    if ratio is None or ratio >= _FASTER or not _less_arithmetic(evidence):
        return None
    if _upcast(evidence) or _signed(evidence) or _unpacked(evidence) or _DYNAMIC & set(side.seconds):
        return None
    count = sum(side.products().values())
    each = side.part_s(PRODUCTS) / count if count else side.part_s(PRODUCTS)
    values = {"ratio": f"{ratio:.2f}", "macs": f"{side.macs / max(count, 1):.2g}", "each": f"{each * 1e6:.0f}"}
    return Cause(code="small-products", values=values)


def _slow_integers(evidence: Evidence) -> Cause | None:
    """Integer products of dynamic quantisation that are slower than fp32's."""
    ratio = evidence.product_ratio
    if ratio is None or ratio >= _FASTER or not _DYNAMIC & set(evidence.variant.seconds):
        return None
    return Cause(
        code="slow-integer-kernel",
        values={"ratio": f"{ratio:.2f}", "operators": _largest(evidence.variant, PRODUCTS)},
    )


_CHECKS: tuple[Callable[[Evidence], Cause | None], ...] = (
    _upcast,
    _dense,
    _signed,
    _no_vnni,
    _slow_integers,
    _unpacked,
    _dynamic,
    _mixed,
    _conversions,
    _small,
    _outside,
)


def _largest(side: Side, kinds: Collection[str]) -> str:
    """Name up to three kinds of operators with the most time, with their shares."""
    some = sorted((name for name in side.seconds if name in kinds), key=lambda name: -side.seconds[name])
    return ", ".join(f"{name} {_percent(side.share({name}))}" for name in some[:3])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
