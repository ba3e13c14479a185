"""leptonbench held against its own goals: `make bench`. Nothing here is asserted by a test."""

from __future__ import annotations
