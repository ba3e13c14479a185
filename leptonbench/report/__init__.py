"""The report: one self-contained HTML page from a run's manifest and records."""

from __future__ import annotations

from leptonbench.report.render import render_report, write_report

__all__ = ["render_report", "write_report"]
