"""The harness: plan, prepare, measure in fresh processes, aggregate. Nothing here knows an engine by name."""

from __future__ import annotations
