"""8-bit weights, activations quantised at run time from each tensor's own range (ONNX Runtime)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.facts import add_facts
from leptonbench.compression.fold import fold, name_nodes
from leptonbench.errors import NotApplicable

# What ONNX Runtime's CPU provider computes from integers it scaled itself; Attention and LSTM also have such forms, but
# only as fused operators, which exporters do not write.
_KERNELS = {"Conv": "ConvInteger", "MatMul": "MatMulInteger"}


class QuantizeDynamic:
    """Dynamic quantisation: no calibration data, ranges computed for each inference.

    Options:
        per_channel: One scale for each output channel of a weight.
    """

    stage: ClassVar[Literal["module", "graph"]] = "graph"
    order: ClassVar[int] = 60
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = False

    def apply(self, model: Any, options: Options, context: Context) -> Path:
        """Return an ONNX file with ConvInteger and MatMulInteger in place of their float forms.

        Raises:
            UsageError: If an option is unknown.
            NotApplicable: If no operator has an integer form.
        """
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        check_options("quantize-dynamic", options, {"per_channel": (True, False)})
        folded = fold(Path(model), context.workdir / "folded.onnx")
        name_nodes(folded)
        if not any(node.op_type in _KERNELS for node in folded.graph.node):
            raise NotApplicable(
                "dynamic quantisation does not apply to this model",
                cause=f"none of its operators is one of {', '.join(_KERNELS)}",
                hint="leave the variant out for this workload",
            )
        target = context.workdir / "int8-dynamic.onnx"
        quantize_dynamic(
            folded,
            str(target),
            op_types_to_quantize=list(_KERNELS),
            per_channel=bool(options.get("per_channel", True)),
            # ONNX Runtime's CPU ConvInteger has no kernel for signed weights.
            weight_type=QuantType.QUInt8,
            # A product of two activations would need both quantised at run time, which costs more than it saves.
            extra_options={"MatMulConstBOnly": True},
        )
        made = onnx.load(str(target))
        counts = {name: sum(node.op_type == name for node in made.graph.node) for name in _KERNELS.values()}
        add_facts(made, "quantize-dynamic", {"operators": counts})
        onnx.save(made, str(target))
        return target
