"""`leptonbench tune`: find the setting with the highest rate within a latency target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, parse_duration, parse_slo
from leptonbench.cli.report import Language
from leptonbench.cli.run import passed, split, write_page
from leptonbench.errors import EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from leptonbench.harness.request import RunOutcome
    from leptonbench.harness.tuning import Described, TuneRequest, TuneResult

_NAMES = {
    "backend": "backend",
    "backend and options": "backend",
    "parallelism": "threads x instances",
    "batching": "largest batch, longest wait",
    "graph_optimisation": "graph optimisation",
    "arena": "memory arena",
    "io_binding": "I/O binding",
}


def tune(
    ctx: typer.Context,
    workload: Annotated[str, typer.Option(metavar="NAME", help="What to run.")],
    variant: Annotated[str, typer.Option(metavar="NAME", help="How it is compressed.")],
    slo: Annotated[str, typer.Option(metavar="pN=TIME", help="The latency target: p99=20ms.")],
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Choose among these, the first being the default; else among the suite's."),
    ] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Upper bound for everything.")] = "5m",
    rounds: Annotated[
        int | None, typer.Option(metavar="N", min=3, help="Fresh processes that verify a rate; default: the suite's.")
    ] = None,
    suite: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Where the default queue, demand and region come from.")
    ] = "manufacturing",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; must be new or empty.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the order and the arrivals.")] = 0,
    model: Annotated[
        str | None, typer.Option(metavar="PATH|ID", help="Your own model: folder, hub id or ONNX.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="PATH", exists=True, help="Your own data.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report at the end.")] = False,
    lang: Language = "en",
    as_json: AsJson = False,
) -> int:
    """Find the setting of engine and queue with the highest rate within a latency target, and say what gained it."""
    from leptonbench.harness.tuning import TuneRequest

    request = TuneRequest(
        workload=workload,
        variant=variant,
        slo=parse_slo(slo),
        backends=split(backend),
        suite=suite,
        budget_s=parse_duration(budget),
        rounds=rounds,
        seed=seed,
        out=out,
        model=model,
        data=data,
        passed=passed(ctx),
        command=("leptonbench", *sys.argv[1:]),
    )
    outcome, result = _search(request, quiet=as_json)
    page = None if no_report else write_page(outcome, lang)
    if as_json:
        console.document(_document(outcome, result, page))
    else:
        _show(outcome, result)
        console.out(f"report: {page}" if page else f"run: {outcome.path.absolute()}")
    return EXIT_OK if _verified(outcome, result) else EXIT_INVALID


def _search(request: TuneRequest, *, quiet: bool) -> tuple[RunOutcome, TuneResult]:
    from leptonbench.cli.progress import make_progress
    from leptonbench.harness.request import Silent
    from leptonbench.harness.tune import tune as search

    if quiet:
        return search(request, Silent())
    with make_progress() as progress:
        return search(request, progress)


def _verified(outcome: RunOutcome, result: TuneResult) -> bool:
    """Return whether the winner was verified and its answers are good enough.

    A default that misses the target is no fault of the search.
    """
    from leptonbench.schema import Status

    return result.meets_quality is True and any(
        record.cell.key == result.winner_cell and record.status is Status.OK for record in outcome.records
    )


def _document(outcome: RunOutcome, result: TuneResult, page: Path | None) -> dict[str, Any]:
    return {
        **result.model_dump(mode="json"),
        "run": str(outcome.path.absolute()),
        "report": str(page) if page else None,
        "records": [record.model_dump(mode="json") for record in outcome.records],
    }


def _show(outcome: RunOutcome, result: TuneResult) -> None:
    """Print what was tried, what won, what each option contributed, and how to run it again."""
    _show_tried(result)
    _show_verified(outcome, result)
    if result.contributions:
        rows = [
            [
                _NAMES.get(item.option, item.option),
                _value(result.winner, item.option),
                _value(item.without, item.option),
                _ratio(item.ratio),
                item.verdict,
            ]
            for item in result.contributions
        ]
        columns = ["option", "best", "instead of", "rate with it / without (modelled)", "so it is"]
        console.table([console.Column(name) for name in columns], rows, title="what each option contributes")
    console.out(_summary(result))
    console.out(_quality(result))
    console.out(f"again: {result.command}")


def _show_tried(result: TuneResult) -> None:
    rows = [
        [item.setting, _rate(item.rate), _ratio(item.ratio), item.against if item.against != item.setting else ""]
        for item in result.tried
    ]
    columns = [console.Column(name) for name in ("tried", "rate behind its best queue (modelled)", "ratio", "to")]
    console.table(columns, rows, title="settings")
    for name, why in result.not_tried.items():
        console.say(f"left out: {name}: {why}")


def _show_verified(outcome: RunOutcome, result: TuneResult) -> None:
    from leptonbench.cli.wording import amount, because
    from leptonbench.schema import Status

    rows: list[list[str]] = []
    for title, key in (("default", result.default_cell), (_winner(result), result.winner_cell)):
        record = next((record for record in outcome.records if record.cell.key == key), None)
        if record is None or (rows and key == result.default_cell):
            continue
        tail = f"latency_p{100 * result.slo.percentile:g}".replace(".", "")
        rows.append(
            [
                title,
                _setting(result.default if title == "default" else result.winner),
                amount("throughput", record.metrics.get("throughput")) if record.status is Status.OK else "-",
                f"{result.predicted[key]:.4g}/s",
                amount(tail, record.metrics.get(tail)),
                amount("quality", record.metrics.get("quality")),
                because(record.reason) or record.status.value,
            ]
        )
    names = ("", "setting", "verified rate", "predicted", f"p{100 * result.slo.percentile:g}", "quality", "status")
    console.table([console.Column(name) for name in names], rows, title="verified under Poisson arrivals")


def _summary(result: TuneResult) -> str:
    target = f"p{100 * result.slo.percentile:g} <= {1e3 * result.slo.seconds:g} ms"
    if result.winner == result.default:
        line = f"within {target} nothing is faster than the default by more than the noise: no significant difference"
    elif result.speedup.value is None:
        line = f"within {target} the gain is not verified: {result.speedup.why_null}"
        line += f"; the queue model says {_ratio(result.modelled_speedup)} of the default's rate"
    else:
        line = f"within {target} the {_winner(result)} setting has {_ratio(result.speedup)} of the default's rate: "
        line += result.verdict
    certified = result.certified_percentile
    wanted = result.slo.percentile
    if certified is not None and certified < wanted:
        line += f"; its queries certify no percentile above p{100 * certified:g}: a larger --budget does"
    return line


def _winner(result: TuneResult) -> str:
    """Name the winner: nothing is the best whose answers are not known to be good enough."""
    return "best" if result.meets_quality else "fastest"


def _quality(result: TuneResult) -> str:
    """Say whether the winner's answers are good enough for its rate to count."""
    if result.meets_quality is None:
        return f"whether its quality meets the floor is unknown: {result.quality}"
    if result.meets_quality:
        return f"its quality meets the floor: {result.quality}"
    return f"its quality is below the floor, so its rate is of no use: {result.quality}"


def _setting(item: Described) -> str:
    options = "".join(f", {tag}" for tag in item.options.tags)
    queue = f"batches up to {item.max_batch}, waiting {1e3 * item.max_wait_s:g} ms"
    return f"{item.backend}, {item.threads} threads x {item.instances}, {queue}{options}"


def _value(item: Described, option: str) -> str:
    values = {
        "parallelism": f"{item.threads} x {item.instances}",
        "batching": f"{item.max_batch}, {1e3 * item.max_wait_s:g} ms",
        "graph_optimisation": item.options.graph_optimisation,
        "arena": "on" if item.options.arena else "off",
        "io_binding": "on" if item.options.io_binding else "off",
    }
    return values.get(option, item.backend)


def _ratio(quantity: Any) -> str:
    if quantity.value is None:
        return f"- ({quantity.why_null})"
    ends = (
        f" [{quantity.low:.3g}, {quantity.high:.3g}]" if quantity.low is not None and quantity.high is not None else ""
    )
    return f"{quantity.value:.3g}x{ends}"


def _rate(quantity: Any) -> str:
    if quantity.value is None:
        return f"- ({quantity.why_null})"
    ends = (
        f" [{quantity.low:.4g}, {quantity.high:.4g}]" if quantity.low is not None and quantity.high is not None else ""
    )
    return f"{quantity.value:.4g}/s{ends} n={quantity.n}"
