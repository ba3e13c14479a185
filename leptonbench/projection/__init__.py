"""What hardware would do that nobody here owns: pure functions over published results and published figures."""

from __future__ import annotations
