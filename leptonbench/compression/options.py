"""Options that are numbers, read and refused in one way by every technique."""

from __future__ import annotations

from leptonbench.compression.base import Options
from leptonbench.errors import UsageError


def fraction(technique: str, options: Options, name: str, default: float) -> float:
    """Return an option that is a share.

    Raises:
        UsageError: If it is not between 0 and 1, both excluded.
    """
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise UsageError(
            f"`{technique}` cannot take {name} = {value!r}", hint="it takes a share between 0 and 1, such as 0.5"
        )
    return float(value)


def count(technique: str, options: Options, default: int, *, name: str = "steps") -> int:
    """Return an option that is a positive whole number.

    Raises:
        UsageError: If it is not.
    """
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"`{technique}` cannot take {name} = {value!r}", hint="it takes a whole number from 1 on")
    return value
