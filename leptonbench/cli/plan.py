"""`leptonbench plan`: how many to rent or buy, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, OutFile, RunName, parse_slo
from leptonbench.cli.report import Language

if TYPE_CHECKING:
    from leptonbench.cost.capacity import Target


def _text(*names: str, metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=text)
    return option


Demand = Annotated[
    str | None,
    _text(
        "--demand", metavar="DEMAND", text="Like '40 lines x 30/s, 16 h x 5 d', or a CSV file; default: the suite's."
    ),
]
Slo = Annotated[
    str | None, _text("--slo", metavar="p99=50ms", text="Latency target of every hour; default: the suite's.")
]
Availability = Annotated[
    str, _text("--availability", metavar="n|n+1|n+2", text="Machines that may be down with the target still met.")
]
Region = Annotated[
    str | None, _text("--region", metavar="NAME", text="Of prices, electricity and carbon; default: the suite's.")
]
Horizon = Annotated[str, _text("--horizon", metavar="3y", text="Time over which costs are summed up.")]
Workload = Annotated[str | None, _text("--workload", metavar="NAME", text="Of a run that has several.")]
TermsOption = Annotated[
    str | None,
    _text("--terms", metavar="NAMES", text="Ranked: on-demand, reserved, spot, owned; default: all but spot."),
]
Hosting = Annotated[
    str | None, _text("--hosting", metavar="NAME", text="Of what is owned: own (default) or colocation.")
]
Share = Annotated[
    bool, typer.Option("--share-servers", help="Owned servers do other work beside: pay for the share in use.")
]
Processing = Annotated[
    bool, typer.Option("--with-processing", help="Count pre- and post-processing as work of the unit.")
]
Prices = Annotated[
    Path | None, _text("--prices", metavar="FILE", text="Your own offers (YAML), used before those known.")
]
Grid = Annotated[Path | None, _text("--grid", metavar="FILE", text="Carbon of the grid by the hour (CSV).")]
AsOf = Annotated[str | None, _text("--as-of", metavar="DAY", text="Day of the plan, by which prices are stale or not.")]


def plan(
    run: RunName,
    demand: Demand = None,
    slo: Slo = None,
    availability: Availability = "n",
    region: Region = None,
    horizon: Horizon = "3y",
    workload: Workload = None,
    terms: TermsOption = None,
    hosting: Hosting = None,
    share_servers: Share = False,
    with_processing: Processing = False,
    prices: Prices = None,
    grid: Grid = None,
    as_of: AsOf = None,
    lang: Language = "en",
    out: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Plan what to rent or buy for a demand, from a run's measurements.

    Every cell that meets its quality floor is sized so that the latency target holds in every hour of the week, priced
    rented and owned, and ranked. --out writes the plan as one HTML file.
    """
    from datetime import UTC, datetime

    from leptonbench.cli.plan_text import show_document
    from leptonbench.planning import build_plan, make_request
    from leptonbench.report.plan_page import write_plan
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    store = RunStore.open(find_run(run))
    request = make_request(
        store.manifest,
        workload=workload,
        demand=demand,
        target=_target(slo) if slo else None,
        availability=availability,
        region=region,
        horizon=horizon,
        hosting=hosting,
        terms=terms,
        share_servers=share_servers,
        with_processing=with_processing,
        prices=prices,
        grid=grid,
        as_of=as_of,
        today=datetime.now(UTC).date(),
    )
    document = build_plan(store, request)
    if out:
        write_plan(document, out=out.absolute(), lang=lang)
        console.say(f"plan: {out.absolute()}")
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, "plan": document.model_dump(mode="json")})
    else:
        show_document(document)


def _target(text: str) -> Target:
    from leptonbench.cost.capacity import Target

    slo = parse_slo(text)
    return Target(slo.percentile, slo.seconds)
