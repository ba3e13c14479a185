"""Examples of hypothesis run without a deadline: a busy machine is not a defect."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("leptonbench", deadline=None)
settings.load_profile("leptonbench")
