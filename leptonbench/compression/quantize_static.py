"""8-bit weights and activations with ranges fixed beforehand on the calibration split (ONNX Runtime's QDQ form)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.calibrate import METHODS, Range, Samples, collect_ranges, float_tensors
from leptonbench.compression.encoding import WeightCodes
from leptonbench.compression.facts import add_facts
from leptonbench.compression.fold import fold, name_nodes, pool_globally, untie_weights
from leptonbench.compression.sensitivity import PRODUCTS, Sensitivity, by_answers, by_outputs, measure
from leptonbench.errors import UsageError

CHAIN = PRODUCTS | {
    *("Add", "Relu", "Clip", "LeakyRelu", "Concat", "Split", "Slice", "Pad", "Resize", "Where"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
}
"""Operators that keep an 8-bit chain between convolutions unbroken: all have 8-bit kernels or only move codes."""
_RESIDUAL_NORMS = frozenset({"LayerNormalization", "Softmax", "SkipLayerNormalization"})
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "calibration": METHODS,
    "percentile": (),
    "samples": (),
    "per_channel": (True, False),
    "activations": ("uint8", "int8"),
    "weights": ("int8", "uint8"),
    "operators": ("auto", "chain", "products"),
    "reduce_range": (True, False),
    "exclude": ("none", "measured"),
    "exclude_bound": (),
    "exclude_most": (),
    "exclude_limit_s": (),
}


class _Settings(NamedTuple):
    """The options, checked and complete."""

    method: str
    percentile: float
    samples: int
    per_channel: bool
    activations: str
    weights: str
    reduce_range: bool
    operators: str
    exclude: bool
    bound: float
    most: int
    limit_s: float


class QuantizeStatic:
    """Static quantisation to QDQ form.

    Options:
        calibration: `minmax`; `percentile` and `entropy` clip outliers.
        percentile: Share of the magnitudes kept by `percentile`, in percent (99.999).
        samples: Calibration samples used, at most (128).
        per_channel: One scale for each output channel of a weight.
        activations: `uint8`, which x86 multiplies with signed weights; `int8` suits Arm and GPUs, and has no fast
            kernel in ONNX Runtime on x86.
        weights: `int8` or `uint8`.
        reduce_range: 7-bit weights: two products with them fit 16 bits, so that the fast instructions of x86 CPUs
            without VNNI stay exact.
        operators: `chain` also quantises what lies between products, so that codes pass from one to the next;
            `products` leaves that in fp32, where residual sums and normalisations want it; `auto` takes `products` for
            graphs with layer normalisation or softmax.
        exclude: `measured` leaves products in fp32 until what the task's metric loses on calibration samples is chance
            or next to nothing, or `exclude_most` of them (4) are out; measuring stops after `exclude_limit_s` (60). A
            network whose outputs alone are no answers goes by their error: `exclude_bound` of their standard deviation
            (0.1).
    """

    stage: ClassVar[Literal["module", "graph"]] = "graph"
    order: ClassVar[int] = 60
    uses_calibration: ClassVar[bool] = True
    tunes: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def apply(self, model: Any, options: Options, context: Context) -> Path:
        """Return an ONNX file with QuantizeLinear and DequantizeLinear around every quantised operator.

        Raises:
            UsageError: If an option is unknown or out of range, or nothing can be calibrated.
        """
        import onnx
        from onnxruntime.quantization.onnx_model import ONNXModel

        settings = _settings(options)
        folded = fold(Path(model), context.workdir / "folded.onnx")
        pool_globally(folded)
        name_nodes(folded)
        op_types = _op_types(folded, settings.operators)
        untie_weights(folded, PRODUCTS.intersection(op_types))
        tensors = _activations(folded, op_types)
        samples = Samples(context.calibration, settings.samples)
        context.say(f"calibrate ({settings.method})")
        ranges, count = collect_ranges(
            folded, sorted(tensors), samples, method=settings.method, percentile=settings.percentile
        )
        found = _measure(folded, ranges, settings, op_types, context) if settings.exclude else None
        quantised = _quantise(folded, ranges, settings, op_types=op_types, excluded=found.excluded if found else ())
        facts = {
            "calibration": settings.method,
            "calibration_samples": count,
            "weight_bits": 7 if settings.reduce_range else 8,
            "operators": "chain" if "Add" in op_types else "products",
            "products_quantised": _count_products(quantised),
        }
        if not facts["products_quantised"] and not (found and found.excluded):
            raise UsageError(
                "the model's weights cannot be quantised",
                cause="no convolution or matrix product ends with 8-bit weights: none holds its own in fp32",
                hint="give the model in fp32, before any cast",
            )
        add_facts(quantised, "quantize-static", facts | ({"sensitivity": found.facts()} if found else {}))
        target = context.workdir / "int8-static.onnx"
        ordered = ONNXModel(quantised)
        ordered.topological_sort()  # the quantiser appends its nodes at the end; the format asks for them in order
        onnx.save(ordered.model, str(target))
        return target


def _count_products(model: Any) -> int:
    """Count the products of a finished graph that multiply 8-bit codes; a constant must be held in 8 bits."""
    constants = {tensor.name for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}

    def constant(name: str) -> bool:
        node = made.get(name)
        return name in constants or (node is not None and node.op_type == "Cast" and constant(node.input[0]))

    def coded(name: str) -> bool:
        """Say whether a tensor is read from codes that are either held, or made of an activation."""
        node = made.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return False
        source = made.get(node.input[0])
        return source is None or source.op_type != "QuantizeLinear" or not constant(source.input[0])

    return sum(node.op_type in PRODUCTS and all(map(coded, node.input[:2])) for node in model.graph.node)


def _settings(options: Options) -> _Settings:
    check_options("quantize-static", options, _ALLOWED)
    settings = _Settings(
        method=str(options.get("calibration", "minmax")),
        percentile=_number(options, "percentile", 99.999, low=50, high=100),
        samples=int(_number(options, "samples", 128, low=1, high=100_000)),
        per_channel=bool(options.get("per_channel", True)),
        activations=str(options.get("activations", "uint8")),
        weights=str(options.get("weights", "int8")),
        reduce_range=bool(options.get("reduce_range", False)),
        operators=str(options.get("operators", "auto")),
        exclude=options.get("exclude", "none") == "measured",
        bound=_number(options, "exclude_bound", 0.1, low=0, high=10),
        most=int(_number(options, "exclude_most", 4, low=1, high=1000)),
        limit_s=_number(options, "exclude_limit_s", 60, low=1, high=36_000),
    )
    if "percentile" in options and settings.method != "percentile":
        raise UsageError(
            "`quantize-static` cannot take a percentile here",
            cause=f"calibration is {settings.method!r}",
            hint="write calibration: percentile, or leave the option out",
        )
    return settings


def _number(options: Options, name: str, default: float, *, low: float, high: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(
            f"`quantize-static` cannot take {name} = {value!r}", hint=f"it takes a number from {low:g} to {high:g}"
        )
    return float(value)


def _op_types(model: Any, operators: str) -> list[str]:
    present = {node.op_type for node in model.graph.node}
    products = operators == "products" or (operators == "auto" and bool(present & _RESIDUAL_NORMS))
    chosen = present & (PRODUCTS if products else CHAIN)
    if not chosen & PRODUCTS:
        raise UsageError(
            "the model has nothing to quantise",
            cause=f"its operators are {', '.join(sorted(present))}",
            hint="static quantisation needs convolutions or matrix products",
        )
    return sorted(chosen)


def _activations(model: Any, op_types: list[str]) -> set[str]:
    """Return the fp32 tensors at the quantised operators."""
    touched = {
        name for node in model.graph.node if node.op_type in op_types for name in (*node.input, *node.output) if name
    }
    return touched & float_tensors(model)


def _measure(
    model: Any, ranges: dict[str, Range], settings: _Settings, op_types: list[str], context: Context
) -> Sensitivity:
    context.say("measure which layers 8 bits hurt")
    judge = by_outputs(settings.bound) if context.difference is None else by_answers(context.difference)
    return measure(
        model,
        ranges,
        Samples(context.calibration, min(judge.samples, settings.samples)),
        op_types=op_types,
        activations=settings.activations,
        weights=WeightCodes(settings.weights, settings.per_channel, settings.reduce_range),
        judge=judge,
        most=settings.most,
        limit_s=settings.limit_s,
    )


def _quantise(
    model: Any, ranges: dict[str, Range], settings: _Settings, *, op_types: list[str], excluded: tuple[str, ...]
) -> Any:
    """Return the quantised graph, an onnx `ModelProto`."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    # The quantizer asks a method only how to read a range, and these are plain ranges whatever found them.
    data = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(span.low), np.float32(span.high)) for name, span in ranges.items()},
    )
    quantizer = QDQQuantizer(
        model,
        settings.per_channel,
        settings.reduce_range,
        types[settings.weights],
        types[settings.activations],
        data,
        [],
        list(excluded),
        op_types,
        {},
    )
    quantizer.quantize_model()
    return quantizer.model.model
