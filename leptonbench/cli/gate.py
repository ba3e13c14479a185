"""`leptonbench gate`: is the head slower, less accurate or otherwise changed against its base?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, parse_duration
from leptonbench.cli.run import Names, split
from leptonbench.errors import UsageError

if TYPE_CHECKING:
    from leptonbench.gate.config import GateConfig
    from leptonbench.gate.model import CellResult, GateResult
    from leptonbench.gate.run import GateRequest


def gate(
    base: Annotated[
        str, typer.Option(metavar="SIDE", help="An ONNX file, a model folder, a leptonbench.toml or a git ref.")
    ],
    head: Annotated[
        str | None, typer.Option(metavar="SIDE", help="Likewise, or `.` for this folder; default: HEAD.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, help="Default: leptonbench.toml or pyproject.toml here.")
    ] = None,
    workload: Annotated[str | None, typer.Option(metavar="NAME", help="What is run; default: inspection.")] = None,
    variant: Annotated[Names, typer.Option(metavar="NAME", help="How it is compressed; default: fp32.")] = None,
    backend: Annotated[Names, typer.Option(metavar="NAME", help="What runs it; default: onnxruntime.")] = None,
    scenario: Annotated[
        Names, typer.Option(metavar="NAME", help="single-stream (default), multi-stream or offline.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Settings of the scenarios, and the buyer's demand.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="PATH", exists=True, help="Your own data.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads; default: all cores.")] = None,
    window: Annotated[str | None, typer.Option(metavar="TIME", help="Timed window of one process: 500ms.")] = None,
    accepted: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, help="The accepted-changes file.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of samples and paddings.")] = None,
    advisory: Annotated[bool, typer.Option("--advisory", help="Tell the verdict, and exit with 0.")] = False,
    defer: Annotated[
        bool, typer.Option("--defer", help="Leave the confirmation of what looks slower to another runner.")
    ] = False,
    confirm: Annotated[
        Path | None, typer.Option(metavar="GATE.JSON", exists=True, help="Confirm what this first pass flagged.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where gate.json and summary.md go.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotate and summarise; the default under GitHub Actions.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Compare a head with its base and say whether it got worse, as far as this machine can tell.

    Exact figures are compared for equality, answers sample by sample, and times in fresh processes of both sides in
    turn; what looks slower is measured once more before it counts. Exit code 0 is a pass, 1 a confirmed regression or a
    change that nobody accepted, 3 anything that could not be decided.
    """
    given = {
        "workload": workload,
        "variants": split(variant) or None,
        "backends": split(backend) or None,
        "scenarios": split(scenario) or None,
        "suite": suite,
        "data": str(data.resolve()) if data else None,
        "threads": threads,
        "window_s": parse_duration(window) if window else None,
        "accepted_changes": str(accepted.resolve()) if accepted else None,
        "seed": seed,
        "advisory": advisory or None,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    path, configured = _config(config, head, changed)
    request = _request(base, head, configured, path, changed, confirm=confirm, defer=defer, out=out)
    result = _gate(request, quiet=as_json)
    _publish(result, out, github=github)
    if as_json:
        console.document(_document(result))
    else:
        _show(result)
    return result.exit_code


def _config(path: Path | None, head: str | None, changed: dict[str, Any]) -> tuple[Path | None, GateConfig]:
    """Return the project's configuration, or the head's where there is none, with the command line's changes."""
    from pydantic import ValidationError

    from leptonbench.gate.config import GateConfig, find_config, read_config
    from leptonbench.gate.sides import own_config

    found = path or find_config(Path.cwd()) or own_config(head)
    fields = dict(read_config(found)) if found else {}
    try:
        return found, GateConfig.model_validate({**fields, **changed})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        hint = "see `leptonbench gate --help` and docs/gating.md"
        raise UsageError(f"`{first['loc'][0]}` is out of range", cause=str(first["msg"]), hint=hint) from error


def _request(
    base: str, head: str | None, config: GateConfig, path: Path | None, changed: dict[str, Any], **rest: Any
) -> GateRequest:
    from leptonbench.gate.run import GateRequest
    from leptonbench.registry import unknown

    known = ("single-stream", "multi-stream", "offline")
    for name in config.scenarios:
        if name == "server":
            raise UsageError(
                "the gate does not measure the scenario `server`",
                cause="its rate is found by a search in steps of 15 %, coarser than what a gate must tell",
                hint=f"gate one of {', '.join(known)}",
            )
        if name not in known:
            raise unknown("scenario", name, known)
    return GateRequest(base=base, head=head, config=config, path=path, changed=changed, **rest)


def _gate(request: GateRequest, *, quiet: bool) -> GateResult:
    from leptonbench.gate.run import run_gate

    return run_gate(request, _Quiet() if quiet else _Lines())


class _Quiet:
    """Progress that says nothing."""

    def phase(self, text: str) -> None:
        """Say nothing."""

    def pair(self, cell: str, done: int, total: int) -> None:
        """Say nothing."""


class _Lines:
    """Progress as lines on stderr: each phase once, and every fifth pair."""

    def __init__(self) -> None:
        self._last = ""

    def phase(self, text: str) -> None:
        """Print a phase once."""
        if text != self._last:
            self._last = text
            console.say(text)

    def pair(self, cell: str, done: int, total: int) -> None:
        """Print every fifth pair."""
        if done % 5 == 0:
            console.say(f"{cell}: pair {done + 1} of {total}")


def _publish(result: GateResult, out: Path | None, *, github: bool) -> None:
    """Write the summary, and tell GitHub where it listens."""
    import os

    from leptonbench.atomic import write_atomically
    from leptonbench.gate.annotate import annotation_lines, summary

    if out is not None:
        write_atomically(out / "summary.md", summary(result).encode())
    if not (github or os.environ.get("GITHUB_ACTIONS") == "true"):
        return
    for line in annotation_lines(result):
        console.say(line)
    if target := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(summary(result))


def _document(result: GateResult) -> dict[str, Any]:
    return {**result.model_dump(mode="json"), "exit_code": result.exit_code}


def _show(result: GateResult) -> None:
    """Print each cell's findings, what else was measured, and the verdict."""
    for notice in result.notices:
        console.say(f"warning ({notice.code}): {notice.message}" + (f"\n  hint: {notice.hint}" if notice.hint else ""))
    for cell in result.cells:
        _show_cell(cell)
    advisory = " (advisory)" if result.advisory else ""
    console.out(f"verdict: {result.verdict.value}{advisory}")


def _show_cell(cell: CellResult) -> None:
    from leptonbench.gate.annotate import amount, change, provenance, sides
    from leptonbench.schema import METRICS

    columns = [console.Column(name) for name in ("layer", "metric", "verdict", "base", "head", "why")]
    rows = [
        [item.layer.value, item.metric, item.verdict.value, *map(_short, sides(item)), item.reason]
        for item in cell.findings
    ]
    console.table(columns, rows, title=cell.cell.key)
    if cell.shown:
        names = ("also measured or derived", "base", "head", "head / base", "")
        told = [
            [
                METRICS[item.metric].title_en,
                amount(item.base, item.metric),
                amount(item.head, item.metric),
                change(item),
                provenance(item),
            ]
            for item in cell.shown
        ]
        console.table([console.Column(name) for name in names], told)
    for item in cell.findings:
        if item.hint:
            console.say(f"hint ({item.metric}): {item.hint}")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
