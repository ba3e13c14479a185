"""The sections of docs/validation.md on projections and on the CPU's power model, from their benchmarks' documents."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import outcomes, table


def projection(document: dict[str, Any]) -> str:
    """Return the section on devices that nobody measured here.

    Args:
        document: Of `benchmarks/projection_backtest.py`.
    """
    details = document["details"]
    claims = {_claim_name(one) for one in details["claims"]}
    checks = [one for one in document["outcomes"] if one["name"] not in claims]
    errors = [one for one in checks if "within the interval" not in one["name"]]
    covered = [one for one in checks if "within the interval" in one["name"]]
    widening = details["widening"]
    parts = [
        "## Projection\n",
        f"`python -m benchmarks.projection_backtest`, {_made(document)}. Published MLPerf results, projected as if "
        "they were not there. Errors are under constants that were fitted without the projected device's chip, unless "
        "it says otherwise; their ranges are bootstraps over devices.\n",
        outcomes(errors, what="mean absolute error"),
        "A new device comes with a new round and often with a new submitter, and then errors are larger than where one "
        "result is left out. So the factors of all intervals are raised to the power "
        f"{widening['throughput']:.2f} for throughput and {widening['latency']:.2f} for latency, under which 90 % of "
        "such results lie within them:\n",
        outcomes(covered, what="share of results"),
        "By what a projection stands on, which is what its interval is of:\n",
        table(
            ("judged by", "own results", "nearest relative", "n", "mean error", "bias", "90 % within"),
            map(_claim_row, details["claims"]),
        ),
        "Whose vendor published nothing of the model is refused: neither the model nor a ratio of published figures is "
        "of use there, since vendors differ too much in how much of their peaks they reach.\n",
    ]
    return "\n".join(parts)


def cpu_power(document: dict[str, Any]) -> str:
    """Return the section on the energy of CPUs without a counter.

    Args:
        document: Of `benchmarks/cpu_power_model.py`.
    """
    details = document["details"]
    errors = details["errors"]
    model = next(iter(errors.values()))
    rows = (
        (
            name,
            f"{one['mean']:.1%}",
            f"{one['idle']:.0%}",
            f"{one['full']:.0%}",
            f"{one['energy_p90']:.0%}",
            f"{one['bias']:+.0%}",
        )
        for name, one in errors.items()
    )
    return "\n".join(
        [
            "## CPU power model\n",
            f"`python -m benchmarks.cpu_power_model`, {_made(document)}. Wall power of {model['servers']} published "
            f"servers with {details['cpus']} CPUs at eleven loads; every result of the CPU that is predicted is left "
            f"out. Within the model's band lie {model['within']:.0%} of the servers, and {model['within_by_cpu']:.0%} "
            "with every CPU counted once.\n",
            table(("method", "mean error", "at idle", "at full load", "energy, 90th percentile", "bias"), rows),
            outcomes(one for one in document["outcomes"] if one["goal"] is not None),
        ]
    )


def _made(document: dict[str, Any]) -> str:
    """Return when a document was made, and by which version."""
    return f"{document['created'][:10]}, leptonbench {document['leptonbench_version']}"


def _claim_name(claim: dict[str, Any]) -> str:
    """Return the name of the outcome that tells a claim's mean error."""
    kind = "latency" if claim["by_latency"] else "throughput"
    return f"{kind}: {claim['own']}; {claim['kin'] or 'any kin'}"


def _claim_row(claim: dict[str, Any]) -> tuple[Any, ...]:
    return (
        "latency" if claim["by_latency"] else "throughput",
        claim["own"],
        claim["kin"] or "any",
        claim["n"],
        f"{claim['mean_abs_error']:.1%}",
        f"{claim['bias']:+.1%}",
        f"x/÷ {claim['factor']:.2f}",
    )
