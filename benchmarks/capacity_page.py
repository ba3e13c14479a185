"""The section on capacity planning of docs/validation.md, made from the benchmark's results."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import outcomes, table

_NO_LIVE = (
    "Not held against a live load here (`--rounds 0`): what a server cell shows on a machine that does other work at "
    "the same time says nothing about the model.\n"
)


def compose(document: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    machine, details = document["machine"]["identity"], document["details"]
    parts = [
        "## Capacity\n",
        f"`python -m benchmarks.capacity_validation`, {document['created'][:10]}, {machine['cpu_model']}, "
        f"{machine['logical_cores']} logical cores.\n",
        outcomes(document["outcomes"]),
        "Plans come from event simulation; formulas give the first number of units. Exact values are Erlang's for "
        "exponential service and Franx's for constant service. The formula for general service is off by law of "
        "service as follows, which is why a plan never rests on it:\n",
        table(
            ("service", "mean error of p99", "worst", "cases"),
            ((law, f"{f['mean']:.1f} %", f"{f['worst']:.1f} %", f["n"]) for law, f in details["formula"].items()),
        ),
        "Units by the formula and by simulation:\n",
        table(("case", "formula", "simulation"), details["units"]),
    ]
    parts += _live(details) if "live" in details else [_NO_LIVE]
    parts += _published(details)
    return "\n".join(parts)


def _live(details: dict[str, Any]) -> list[str]:
    rows = (
        (
            f"{run['load']:g}",
            f"{run['rate_per_s']:.1f}",
            run["queries"],
            f"{1e3 * run['percentile_s']:.1f}",
            f"{1e3 * run['value_s']:.1f}",
            f"{1e3 * run['low_s']:.1f} to {1e3 * run['high_s']:.1f}",
        )
        for run in sorted(details["live"], key=lambda run: run["load"])
    )
    return [
        f"A real server cell (inspection, int8, ONNX Runtime, batches of up to 4) under Poisson load of LoadGen, runs "
        f"of {details['duration_s']:g} s, capacity {details['capacity_per_s']:.1f}/s by service times from other "
        "processes. The range holds 95 % of simulated runs of the same length:\n",
        table(("load", "rate (1/s)", "queries", "p99 (ms)", "predicted (ms)", "range (ms)"), rows),
    ]


def _published(details: dict[str, Any]) -> list[str]:
    rows = (
        (one["benchmark"], one["system"], *(f"{one[key]:,.0f}" for key in ("published_per_s", "predicted_per_s")))
        for one in details["published"]
    )
    ratios = (
        (name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", n)
        for name, (low, middle, high, n) in details["ratios"].items()
    )
    return [
        "MLPerf Inference server rates, predicted from the same system's single-stream latency and offline throughput "
        "(a straight line between them gives every batch; nothing is fitted). Systems tune their server and offline "
        "entries apart, and some were published with a server rate above the offline one:\n",
        table(("benchmark", "system", "published (1/s)", "predicted (1/s)"), rows),
        "Published server rate over offline throughput of the same system, median and 10th to 90th percentile:\n",
        table(("benchmark", "median", "range", "systems"), ratios),
    ]
