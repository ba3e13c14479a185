"""`leptonbench project`: what a device would do that is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson
from leptonbench.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from leptonbench.projector.benchmark import Projection
    from leptonbench.schema import Scenario


def project(
    device: Annotated[list[str], typer.Option(metavar="NAME", help="The device; repeatable, or separated by commas.")],
    benchmark: Annotated[str | None, typer.Option(metavar="NAME", help="A published benchmark: resnet50.")] = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Project a stored run's throughput instead, and add it to the run."),
    ] = None,
    measured_on: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The accelerator that the run measured; default: what its driver says."),
    ] = None,
    scenario: Annotated[str, typer.Option(metavar="NAME", help="Of the benchmark.")] = "offline",
    anchors: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="NAME", help="Project from these devices alone; default: from all."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Insist on a precision: int8, fp16, bf16, fp8, fp32.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Project hardware that you do not own, from published results.

    Every figure is of one device, and comes with the error that the same method had on results that are published.
    """
    from leptonbench.cli.run import split
    from leptonbench.projector.benchmark import project_benchmark
    from leptonbench.schema import SCHEMA_VERSION

    if run is not None and benchmark is None:
        return _project_run(run, split(device), measured_on, as_json=as_json)
    if benchmark is None or run is not None:
        raise UsageError(
            "a projection is of one thing" if run else "nothing to project was named",
            hint="name a published benchmark by `--benchmark resnet50`, or a stored run by `--run`",
        )
    kind = _scenario(scenario)
    found = [
        project_benchmark(name, benchmark, kind, anchors=split(anchors), precision=precision) for name in split(device)
    ]
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, "projections": [one.as_json() for one in found]})
    else:
        for one in found:
            _show(one)
    return EXIT_OK


def _project_run(name: str, devices: tuple[str, ...], measured_on: str | None, *, as_json: bool) -> int:
    """Project a run's cells, add the records to the run, and show them."""
    from leptonbench.cli.run import say_left
    from leptonbench.cli.wording import overview
    from leptonbench.projector.cells import add_to_run
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    with RunStore.open(find_run(name), writable=True) as store:
        found = add_to_run(store, devices, measured_on=measured_on)
        where = store.path
    if as_json:
        records = [one.model_dump(mode="json", exclude_none=True) for one in found.records]
        console.document({"schema_version": SCHEMA_VERSION, "run": str(where), "left": found.left, "records": records})
        return EXIT_OK
    columns, rows = overview(found.records)
    console.table(columns, rows)
    say_left(found.left)
    console.say(f"added to {where}; `leptonbench report {where}` shows them beside what was measured")
    return EXIT_OK


def _scenario(name: str) -> Scenario:
    from leptonbench.registry import unknown
    from leptonbench.schema import Scenario

    names = [one.value for one in Scenario]
    if name not in names:
        raise unknown("scenario", name, names)
    return Scenario(name)


def _show(found: Projection) -> None:
    from leptonbench.cli.wording import amount, number
    from leptonbench.schema import METRICS

    column = found.column
    console.out(
        f"{found.title}: {column.benchmark}, {column.scenario.value}, {found.precision or 'precision not stated'}"
    )
    for tag, quantity in found.metrics.items():
        console.out(f"  {METRICS[tag].title_en.lower()} of one device: {amount(tag, quantity)}")
    console.out(f"  method: {found.method}")
    if found.claim is not None:
        claim = found.claim
        console.out(
            f"  back-test: {claim.n} projections that stood on {claim.own} of the device and {claim.kin or 'any kin'}: "
            f"mean absolute error {claim.mean_abs_error:.1%}, median {claim.median_abs_error:.1%}, "
            f"bias {claim.bias:+.1%}; new results lay within a factor of {claim.factor:.2f} in 90 %"
        )
    columns = [console.Column(name) for name in ("leans on", "benchmark", "scenario")]
    columns += [console.Column(name, right=True) for name in ("rate", "weight", "submissions")]
    rows = [
        [
            one.observation.device,
            one.observation.column.benchmark,
            one.observation.column.scenario.value,
            number("throughput", one.observation.rate_per_s),
            f"{one.weight:+.2f}",
            str(len(one.observation.submissions)),
        ]
        for one in found.inputs
    ]
    console.table(columns, rows)
    if found.more_inputs:
        console.say(f"and {found.more_inputs} more with less weight; `--json` names the files of those shown")
