"""How 8-bit codes stand for real values, as ONNX Runtime's quantiser writes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Encoding(NamedTuple):
    """The integer limits of codes."""

    low: int
    high: int


ENCODINGS = {"uint8": Encoding(0, 255), "int8": Encoding(-128, 127)}
_WEIGHTS = {
    ("uint8", False): Encoding(0, 255),
    ("uint8", True): Encoding(0, 127),
    ("int8", False): Encoding(-127, 127),
    ("int8", True): Encoding(-64, 64),
}


class WeightCodes(NamedTuple):
    """How the weights of products are encoded.

    Attributes:
        kind: `int8` or `uint8`.
        per_channel: Whether each output channel has a scale of its own.
        reduced: Whether codes have 7 bits.
    """

    kind: str = "int8"
    per_channel: bool = True
    reduced: bool = False

    def rounded(self, weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Return a weight after a round trip through its codes.

        Args:
            weight: Of any shape.
            axis: Of the output channels; a weight of one dimension has none.
        """
        encoding = _WEIGHTS[self.kind, self.reduced]
        single = self.per_channel and weight.ndim > 1
        others = tuple(i for i in range(weight.ndim) if i != axis) if single else None
        low = np.minimum(weight.min(axis=others, keepdims=True), 0)
        high = np.maximum(weight.max(axis=others, keepdims=True), 0)
        # Engines multiply faster where every channel has its zero in one place, so there it is the middle code.
        middle = self.kind == "int8" or single
        if middle:
            high = np.maximum(-low, high)
            low = -high
        width = high.astype(np.float64) - low
        scale = np.where(width > 0, width / (encoding.high - encoding.low), 1.0)
        zero = np.rint((encoding.low + encoding.high) / 2) if middle else np.rint(encoding.low - low / scale)
        scale = scale.astype(np.float32)  # as the file holds it
        # What rounds past a narrower range is kept: the quantiser cuts at the type's own limits.
        codes = np.clip(np.rint(weight / scale) + zero, *ENCODINGS[self.kind])
        return np.asarray((codes - zero) * scale, dtype=np.float32)
