"""`leptonbench run`: plan, prepare, measure, price and report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, GraphLevel, parse_duration, parse_slo, parse_wait
from leptonbench.cli.report import Language
from leptonbench.errors import EXIT_INTERRUPTED, EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from leptonbench.harness.request import RunOutcome, RunRequest

_AXES = ("workload", "variant", "backend", "device", "scenario")
_NOT_PASSED = ("json", "as_json", "dry_run", "lang", "no_report")

Names = list[str] | None
Filter = "Keep only this {}; repeatable, or separated by commas."


def run(
    ctx: typer.Context,
    suite: Annotated[str, typer.Option(metavar="NAME|FILE", help="What to run.")] = "manufacturing",
    workload: Annotated[Names, typer.Option(metavar="NAME", help=Filter.format("workload"))] = None,
    variant: Annotated[Names, typer.Option(metavar="NAME", help=Filter.format("variant"))] = None,
    backend: Annotated[Names, typer.Option(metavar="NAME", help=Filter.format("backend"))] = None,
    device: Annotated[Names, typer.Option(metavar="NAME", help=Filter.format("device"))] = None,
    scenario: Annotated[Names, typer.Option(metavar="NAME", help=Filter.format("scenario"))] = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", min=3, help="Fresh processes a cell.")] = None,
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="Length of one timed window: 500ms, 2s.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Upper bound for the whole run: 10m.")] = None,
    round_timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Longest a round may take: 5m.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; must be new or empty.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with an unfinished run.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Threads of one instance; default: all cores, shared by the instances."),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Copies of the engine that serve one queue; default: 1.")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Largest batch that waiting queries are put into.")
    ] = None,
    max_wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest wait for a fuller batch: 2ms; 0 does not wait.")
    ] = None,
    graph_optimisation: Annotated[
        GraphLevel,
        typer.Option(metavar="LEVEL", help="How far the engine rewrites the graph: off, basic, extended, all."),
    ] = GraphLevel.ALL,
    no_arena: Annotated[
        bool, typer.Option("--no-arena", help="Keep no memory for intermediate tensors between runs.")
    ] = False,
    io_binding: Annotated[
        bool, typer.Option("--io-binding", help="Keep buffers for the outputs between runs.")
    ] = False,
    slo: Annotated[
        str | None, typer.Option(metavar="pN=TIME", help="Latency target in place of the suite's: p99=20ms.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the order and the arrivals.")] = 0,
    executor: Annotated[str, typer.Option(metavar="NAME", help="Where rounds run.")] = "local",
    model: Annotated[
        str | None, typer.Option(metavar="PATH|ID", help="Your own model: folder, hub id or ONNX.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", exists=True, help="Your own data: images in a folder a class.")
    ] = None,
    projected: Annotated[
        Names, typer.Option(metavar="NAME", help="Project throughput to this device, too; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show cells, skips and time; measure nothing.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report at the end.")] = False,
    lang: Language = "en",
    as_json: AsJson = False,
) -> int:
    """Measure a suite and report on it."""
    from leptonbench.harness.request import Overrides, RunRequest
    from leptonbench.schema import EngineOptions
    from leptonbench.store import find_run

    typed = {"workload": workload, "variant": variant, "backend": backend, "device": device, "scenario": scenario}
    request = RunRequest(
        suite=suite,
        filters={axis: kept for axis, names in typed.items() if (kept := split(names))},
        rounds=rounds,
        duration_s=parse_duration(duration) if duration else None,
        budget_s=parse_duration(budget) if budget else None,
        out=out,
        resume=find_run(resume) if resume else None,
        threads=threads,
        overrides=Overrides(
            instances=instances,
            max_batch=max_batch,
            max_wait_s=parse_wait(max_wait) if max_wait else None,
            slo=parse_slo(slo) if slo else None,
            engine=EngineOptions(
                graph_optimisation=graph_optimisation.value, arena=not no_arena, io_binding=io_binding
            ),
        ),
        seed=seed,
        executor=executor,
        model=model,
        data=data,
        round_timeout_s=parse_duration(round_timeout) if round_timeout else None,
        passed=passed(ctx),
        command=("leptonbench", *sys.argv[1:]),
    )
    devices = split(projected)
    if devices:
        _check_projected(devices)
    if dry_run:
        return _dry_run(request, as_json=as_json)
    outcome = _execute(request, quiet=as_json)
    if outcome is None:
        return EXIT_INTERRUPTED
    if devices:
        outcome = _with_projections(outcome, devices)
    return _finish(outcome, report_lang=None if no_report else lang, as_json=as_json)


def split(names: Names) -> tuple[str, ...]:
    """Return the names of a repeatable option, which may also be separated by commas."""
    return tuple(dict.fromkeys(part for name in names or () for part in name.split(",") if part))


def passed(ctx: typer.Context) -> dict[str, Any]:
    """Return the options that the user typed, apart from those that change nothing in the run."""
    typed = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if name not in _NOT_PASSED and source is not None and source.name == "COMMANDLINE":
            typed[name] = str(value) if isinstance(value, Path) else value
    return typed


def _execute(request: RunRequest, *, quiet: bool) -> RunOutcome | None:
    """Run it, or return `None` if the user interrupted it."""
    from leptonbench.cli.progress import make_progress
    from leptonbench.harness.request import Silent
    from leptonbench.harness.run import execute

    try:
        if quiet:
            return execute(request, Silent())
        with make_progress() as progress:
            return execute(request, progress)
    except KeyboardInterrupt:
        folder = request.resume or request.out or "latest"
        console.say(f"interrupted; what was completed is kept: go on with `leptonbench run --resume {folder}`")
        return None


def _check_projected(devices: tuple[str, ...]) -> None:
    """Refuse what could not be projected before anything is measured."""
    from leptonbench.harness.device import resolve_host
    from leptonbench.harness.system import fingerprint
    from leptonbench.projector.cells import check_sources
    from leptonbench.projector.published import find_device

    for device in devices:
        find_device(device)
    identity = fingerprint().identity
    check_sources(resolve_host(identity)[0], identity.gpus)


def _with_projections(outcome: RunOutcome, devices: tuple[str, ...]) -> RunOutcome:
    """Add the projections to the run, or say why there are none: what was measured stays as it is."""
    from dataclasses import replace

    from leptonbench.errors import UsageError
    from leptonbench.projector.cells import add_to_run
    from leptonbench.store import RunStore

    with RunStore.open(outcome.path, writable=True) as store:
        try:
            found = add_to_run(store, devices)
        except UsageError as error:
            console.say(f"warning: {error}")
            return outcome
        say_left(found.left)
        return replace(outcome, manifest=store.manifest, records=tuple(store.records()))


def say_left(left: dict[str, int]) -> None:
    """Say how many cells were not projected, by reason."""
    for why, count in left.items():
        console.say(f"not projected: {count} cell{'s' if count > 1 else ''}, {why}")


def _dry_run(request: RunRequest, *, as_json: bool) -> int:
    from leptonbench.cli.plan_view import plan_document, show_plan
    from leptonbench.harness.run import plan

    planned = plan(request)
    if as_json:
        console.document(plan_document(planned))
    else:
        show_plan(planned)
    return EXIT_OK


def _finish(outcome: RunOutcome, *, report_lang: str | None, as_json: bool) -> int:
    """Show what came out; the last line is where the report is."""
    from leptonbench.cli.plan_view import outcome_document, show_outcome

    if not as_json:
        show_outcome(outcome)
    path = write_page(outcome, report_lang) if report_lang else None
    if as_json:
        console.document(outcome_document(outcome, path))
    else:
        console.out(f"report: {path}" if path else f"run: {outcome.path.absolute()}")
    return EXIT_OK if outcome.clean else EXIT_INVALID


def write_page(outcome: RunOutcome, lang: str) -> Path:
    """Write the report into the run folder and return its path."""
    from leptonbench.report import write_report

    return write_report(outcome.manifest, outcome.records, lang=lang, out=(outcome.path / "report.html").absolute())
