"""A simulation in rows and words."""

from __future__ import annotations

from typing import Any

from leptonbench.fpga.execution.outcome import CoreOutcome
from leptonbench.fpga.execution.simulate import Mode, Simulation, Span
from leptonbench.fpga.numerics import REFERENCE

LAYER_COLUMNS = (
    ("layer", False),
    ("kind", False),
    ("MMAC", True),
    ("cycles", True),
    ("bound", True),
    ("x bound", True),
    ("binds", False),
    ("read", True),
    ("written", True),
    ("array", True),
    ("tiling", False),
)
"""Titles of a layer's figures, and whether they are numbers."""
HOST_COLUMNS = (("host operator", False), ("count", True), ("here", True), ("on the board", True), ("share", True))


def layer_rows(found: Simulation) -> list[list[str]]:
    """Return a row for each layer, in the order of `LAYER_COLUMNS`; in `full` mode what differs is said, too."""
    rows = []
    for layer in found.alone.layers:
        wrong = f" ({layer.mismatches} bytes differ)" if layer.mismatches else ""
        rows.append(
            [
                layer.name + wrong,
                layer.kind,
                f"{layer.macs / 1e6:.1f}",
                f"{layer.cycles:,.0f}",
                f"{layer.bound.cycles:,.0f}",
                f"{layer.cycles / layer.bound.cycles:.2f}" if layer.bound.cycles else "",
                layer.bound.binds,
                _bytes(layer.read_bytes),
                _bytes(layer.written_bytes),
                f"{layer.utilisation(found.alone.core):.0%}" if layer.macs else "",
                layer.tiling,
            ]
        )
    return rows


def host_rows(found: Simulation) -> list[list[str]]:
    """Return a row for each kind of host operator, in the order of `HOST_COLUMNS`."""
    if found.host is None or found.board.host is None:
        return []
    speed = found.board.host.relative_speed.value
    total_s = found.latency_s.value
    return [
        [
            name,
            str(found.host.counts.get(name, "")),
            _time(here_s),
            _time(here_s / speed),
            f"{here_s / speed / total_s:.1%}",
        ]
        for name, here_s in found.host.seconds.items()
    ]


def sentences(found: Simulation) -> list[str]:
    """Return what there is to say of a simulation as a whole."""
    alone, board = found.alone, found.board
    clock = board.clock_hz
    lines = [
        f"{alone.core.rows} x {alone.core.cols} core at {clock.value / 1e6:.0f} MHz"
        f"{' (assumed)' if clock.assumed else ''}, {board.cores} on the board; {_bytes(found.dram_bytes)} of DRAM each",
        f"{found.mode.value}: {alone.cycles:,.0f} cycles in {alone.programs} programs, "
        f"{alone.utilisation:.0%} of the array's peak; bound by {_shares(alone)}",
    ]
    if found.mode is Mode.FULL:
        lines.append(f"{alone.mismatches} bytes differ from those of the {REFERENCE}")
    lines.append(f"accelerator: {_span(found.accelerator_s, 1e3, 'ms')} a frame")
    if found.host is None:
        lines.append("no host: the input is given in codes, and codes are returned")
    else:
        lines.append(
            f"host: {_span(found.host_s, 1e3, 'ms')} a frame, projected from {_time(found.host.total_s)} here; "
            f"with the accelerator {_span(found.latency_s, 1e3, 'ms')}"
        )
    crowded = f", each frame {_time(found.crowded_s.value)} then" if found.crowded is not alone else ""
    limited = "the host" if found.host_bound else "the accelerator"
    lines.append(f"steady state: {_span(found.throughput_per_s, 1, 'frames/s')}, limited by {limited}{crowded}")
    if found.repacked:
        lines.append(f"laid out anew by the host between two layers, untimed: {', '.join(found.repacked)}")
    return lines


def as_document(found: Simulation) -> dict[str, Any]:
    """Return a simulation as JSON can hold it; cycles, seconds, bytes."""
    document = {
        "mode": found.mode.value,
        "reference": REFERENCE if found.mode is Mode.FULL else None,
        "cores": found.board.cores,
        "clock_hz": found.board.clock_hz.model_dump(mode="json"),
        "core": found.alone.core.parameters(),
        "dram_bytes": found.dram_bytes,
        "repacked": list(found.repacked),
        "alone": _outcome(found.alone),
        "crowded": _outcome(found.crowded) if found.crowded is not found.alone else None,
        "host": None,
        "provenance": {"accelerator": "simulated", "host": "projected"},
    }
    if found.host is not None and found.board.host is not None:
        document["host"] = {
            "title": found.board.host.title,
            "relative_speed": found.board.host.relative_speed.model_dump(mode="json"),
            "seconds_here": dict(found.host.seconds),
            "counts": dict(found.host.counts),
        }
    spans = {
        "accelerator_s": found.accelerator_s,
        "host_s": found.host_s,
        "latency_s": found.latency_s,
        "throughput_per_s": found.throughput_per_s,
    }
    return document | {name: span._asdict() for name, span in spans.items()}


def _outcome(outcome: CoreOutcome) -> dict[str, Any]:
    return {
        "cycles": outcome.cycles,
        "programs": outcome.programs,
        "macs": outcome.macs,
        "utilisation": outcome.utilisation,
        "mismatches": outcome.mismatches,
        "counters": {counter.name.lower(): value for counter, value in outcome.counters.items()},
        "binding": outcome.binding(),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "macs": layer.macs,
                "cycles": layer.cycles,
                "bound_cycles": layer.bound.cycles,
                "binds": layer.bound.binds,
                "read_bytes": layer.read_bytes,
                "written_bytes": layer.written_bytes,
                "utilisation": layer.utilisation(outcome.core),
                "tiling": layer.tiling,
                "mismatches": layer.mismatches,
            }
            for layer in outcome.layers
        ],
    }


def _shares(outcome: CoreOutcome) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in outcome.binding().items() if share >= 0.005)


def _span(span: Span, factor: float, unit: str) -> str:
    value, low, high = (part * factor for part in span)
    return f"{value:.4g} {unit} [{low:.4g}, {high:.4g}]"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
