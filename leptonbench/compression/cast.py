"""Cast weights to a narrower floating-point type."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options


class Cast:
    """Cast a network's weights and buffers to bf16 or fp16."""

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 50
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = False

    def apply(self, model: Any, options: Options, context: Context) -> Any:
        """Return the module in the type asked for; its inputs then have that type too."""
        import torch

        check_options("cast", options, {"dtype": ("bf16", "fp16")})
        return model.to({"bf16": torch.bfloat16, "fp16": torch.float16}[str(options.get("dtype", "bf16"))])
