"""leptonbench: measure, price and compare inference across compression, engine and hardware."""

from __future__ import annotations

from leptonbench._version import __version__

__all__ = ["__version__"]
