"""Turn what a user wrote into a request: what is left out comes from the run's own suite."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from leptonbench.cost.capacity import Target
from leptonbench.cost.demand import Demand, of_suite, parse_curve, parse_demand, parse_grid
from leptonbench.errors import UsageError
from leptonbench.planning.reader import choose_workload
from leptonbench.planning.request import RANKED, PlanRequest, parse_availability, parse_horizon, parse_terms
from leptonbench.schema import RunManifest
from leptonbench.schema.prices import Terms


def make_request(
    manifest: RunManifest,
    *,
    workload: str | None = None,
    demand: str | None = None,
    target: Target | None = None,
    availability: str = "n",
    region: str | None = None,
    horizon: str = "3y",
    hosting: str | None = None,
    terms: str | None = None,
    share_servers: bool = False,
    with_processing: bool = False,
    prices: Path | None = None,
    grid: Path | None = None,
    as_of: str | None = None,
    today: date,
) -> PlanRequest:
    """Return the request of these options, each as the user wrote it; `None` is what was not written.

    Raises:
        UsageError: If an option is malformed, or two of them contradict each other.
    """
    suite = manifest.suite
    chosen = choose_workload(manifest, workload)
    day = _day(as_of, today)
    ranked = parse_terms(terms) if terms else RANKED
    if Terms.OWNED not in ranked and (share_servers or hosting):
        option = "--share-servers" if share_servers else "--hosting"
        cause = f"{option} is about what is owned, and --terms leaves that out"
        raise UsageError(
            "the options contradict each other", cause=cause, hint=f"drop {option}, or add owned to --terms"
        )
    return PlanRequest(
        workload=chosen,
        demand=_demand(demand, manifest, day),
        target=target or Target(suite.latency_percentile, suite.target_s(chosen)),
        region=region or suite.region,
        as_of=day,
        spare_nodes=parse_availability(availability),
        hosting=hosting or "own",
        horizon_years=parse_horizon(horizon),
        terms=ranked,
        share_servers=share_servers,
        with_processing=with_processing,
        prices=prices,
        grid_g_per_kwh=parse_grid(_text(grid), name=str(grid)) if grid else None,
    )


def _day(text: str | None, today: date) -> date:
    if text is None:
        return today
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"`{text}` is not a day", hint="write it like 2026-11-23") from None


def _demand(text: str | None, manifest: RunManifest, day: date) -> Demand:
    if text is None:
        return of_suite(manifest.suite.demand, suite=manifest.suite.name, date=day.isoformat())
    if text.endswith(".csv"):
        return parse_curve(_text(Path(text)), name=text)
    return parse_demand(text, date=day.isoformat())


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"`{path}` is not text", cause=str(error), hint="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", cause=error.strerror or str(error)) from error
