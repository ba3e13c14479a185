"""8-bit weights and activations with ranges fixed beforehand on the calibration split (ONNX Runtime, QDQ)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.compression.base import Context, Options, check_options


class _Reader:
    """Hand the calibration samples to ONNX Runtime one by one."""

    def __init__(self, name: str, samples: Iterator[NDArray[np.float32]]) -> None:
        self._name = name
        self._samples = samples

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next sample, or `None` after the last."""
        sample = next(self._samples, None)
        return None if sample is None else {self._name: sample}


class QuantizeStatic:
    """Static quantisation to QDQ form, per channel."""

    stage: ClassVar[Literal["module", "graph"]] = "graph"
    uses_calibration: ClassVar[bool] = True

    def apply(self, model: Any, options: Options, context: Context) -> Path:
        """Return an ONNX file with QuantizeLinear and DequantizeLinear around every quantised operator."""
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quant_pre_process,
            quantize_static,
        )

        check_options(
            "quantize-static",
            options,
            {
                "calibration": ("minmax", "entropy", "percentile"),
                "per_channel": (True, False),
                "activations": ("uint8", "int8"),
                "weights": ("int8", "uint8"),
            },
        )
        types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
        methods = {
            "minmax": CalibrationMethod.MinMax,
            "entropy": CalibrationMethod.Entropy,
            "percentile": CalibrationMethod.Percentile,
        }
        folded, target = context.workdir / "folded.onnx", context.workdir / "int8-static.onnx"
        quant_pre_process(str(model), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(target),
            _Reader(context.input_name, context.calibration()),
            quant_format=QuantFormat.QDQ,
            per_channel=bool(options.get("per_channel", True)),
            activation_type=types[str(options.get("activations", "uint8"))],
            weight_type=types[str(options.get("weights", "int8"))],
            calibrate_method=methods[str(options.get("calibration", "minmax"))],
        )
        return target
