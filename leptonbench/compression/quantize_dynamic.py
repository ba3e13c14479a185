"""8-bit weights, activations quantised at run time from each tensor's own range (ONNX Runtime)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options


class QuantizeDynamic:
    """Dynamic quantisation: no calibration data, ranges computed for each inference."""

    stage: ClassVar[Literal["module", "graph"]] = "graph"
    order: ClassVar[int] = 60
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = False

    def apply(self, model: Any, options: Options, context: Context) -> Path:
        """Return an ONNX file with ConvInteger and MatMulInteger in place of their float forms."""
        from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

        check_options("quantize-dynamic", options, {"per_channel": (True, False)})
        folded, target = context.workdir / "folded.onnx", context.workdir / "int8-dynamic.onnx"
        quant_pre_process(str(model), str(folded), skip_symbolic_shape=True)
        quantize_dynamic(
            str(folded),
            str(target),
            per_channel=bool(options.get("per_channel", True)),
            # ONNX Runtime's CPU ConvInteger has no kernel for signed weights.
            weight_type=QuantType.QUInt8,
        )
        return target
