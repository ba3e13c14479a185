"""The version: one place, checked against pyproject.toml and the changelog by a test."""

from __future__ import annotations

__version__ = "0.1.0"
