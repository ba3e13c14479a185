"""Run a whole network on a simulated board, and say what it takes: layer by layer, and in seconds."""

from __future__ import annotations

from leptonbench.fpga.execution.simulate import Mode, Simulation, Span, simulate

__all__ = ["Mode", "Simulation", "Span", "simulate"]
