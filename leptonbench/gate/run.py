"""The gate itself: resolve both sides, prepare them, compare what is exact, measure in turn, confirm, judge."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from leptonbench import catalog
from leptonbench.atomic import make_folder, write_atomically
from leptonbench.cost.use import utilisation
from leptonbench.errors import MeasurementError
from leptonbench.gate.budgets import judge_budget, parse_budget
from leptonbench.gate.config import GateConfig
from leptonbench.gate.decide import confirmed, judge_duet, suspects
from leptonbench.gate.duet import Duet, Samples
from leptonbench.gate.exact import Accepted, judge_exact, read_accepted
from leptonbench.gate.match import environments, match, unfit
from leptonbench.gate.model import (
    GATE_FILE,
    PROTOCOL,
    Candidate,
    CellResult,
    Finding,
    GateResult,
    Layer,
    Pass,
    Shown,
    SideInfo,
    SideReport,
    Verdict,
    worst,
)
from leptonbench.gate.quality import judge_quality
from leptonbench.gate.shown import Price, shown
from leptonbench.gate.sides import Resolver, Side
from leptonbench.gate.stored import First
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.device import resolve_host
from leptonbench.harness.feed import build_task
from leptonbench.harness.jobs import JOB_FILE, RESULT_FILE, Failure, TaskRef, write_message
from leptonbench.harness.pricing import host_prices
from leptonbench.harness.process import Start, run_child
from leptonbench.harness.system import cores_available
from leptonbench.schema import METRICS, Identity, Notice, Quantity

_PREPARE_TIMEOUT_S = 3600.0
_SECOND_SEED = 1_000_003  # the confirming pass draws other samples and paddings than the first


@dataclass(frozen=True, slots=True)
class GateRequest:
    """One gate, as the user asked for it.

    Attributes:
        head: `None` for HEAD.
        path: Where the configuration was read; `None` for the defaults.
        changed: Fields of the configuration that the command line set.
        confirm: The `gate.json` of a first pass whose suspicions are to be confirmed here.
        defer: Leave the confirmation to another runner.
        out: Folder of the result.
    """

    base: str
    head: str | None
    config: GateConfig
    path: Path | None = None
    changed: Mapping[str, object] = dataclasses.field(default_factory=dict)
    confirm: Path | None = None
    defer: bool = False
    out: Path | None = None


class GateProgress(Protocol):
    """Where the gate tells what it does; never while a process is timed."""

    def phase(self, text: str) -> None:
        """Tell what is being done."""

    def pair(self, cell: str, done: int, total: int) -> None:
        """Tell that a pair of a cell is about to be measured."""


class Incomparable(MeasurementError):  # noqa: N818 - a verdict, not a defect
    """Two sides that nothing can be said about."""


def run_gate(request: GateRequest, progress: GateProgress) -> GateResult:
    """Gate a head against its base.

    Raises:
        LeptonError: If a side cannot be found, built or prepared.
    """
    started = time.monotonic()
    if request.out is not None:
        make_folder(request.out)  # before minutes are spent on what could not be kept
    first = First.read(request.confirm) if request.confirm else None
    for name, text in request.config.budgets.items():
        parse_budget(name, text)
    resolver = Resolver(request.config, request.path, changed=request.changed, say=progress.phase)
    with resolver.both(request.base, request.head) as (base, head):
        if first is not None:
            first.check(base.info, head.info)
        gate = Gate(request, base, head, first, progress)
        try:
            cells, infos, notices = gate.go()
            verdict = worst([cell.verdict for cell in cells])
        except Incomparable as error:
            cells, infos = (), (base.info, head.info)
            verdict, notices = Verdict.INCOMPARABLE, (_notice("incomparable", error),)
    result = GateResult(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=time.monotonic() - started,
        verdict=verdict,
        advisory=request.config.advisory,
        base=infos[0],
        head=infos[1],
        rules=request.config.rules,
        cells=cells,
        notices=notices,
    )
    if request.out is not None:
        write_atomically(request.out / GATE_FILE, result.model_dump_json(indent=1).encode() + b"\n")
    return result


class Gate:
    """One gate in progress.

    Args:
        request: What was asked.
        base: Resolved.
        head: Resolved.
        first: The first pass, where this one confirms it.
        progress: Told what happens.
    """

    def __init__(
        self, request: GateRequest, base: Side, head: Side, first: First | None, progress: GateProgress
    ) -> None:
        self.request = request
        self.config = request.config
        self.base, self.head = base, head
        self.first = first
        self.progress = progress

    def go(self) -> tuple[tuple[CellResult, ...], tuple[SideInfo, SideInfo], tuple[Notice, ...]]:
        """Do everything.

        Raises:
            Incomparable: If the sides have no cell in common, or one of them cannot be asked.
        """
        with scratch_folder() as scratch:
            reports = [self.prepare(side, scratch / side.label) for side in (self.base, self.head)]
        candidates, alone = match(*reports)
        notices = [*dict.fromkeys(notice for report in reports for notice in report.notices), *alone]
        notices += environments(*reports)
        if not candidates:
            reasons = "; ".join(notice.message for notice in alone) or "neither has any"
            raise Incomparable("the sides have no cell in common", cause=reasons, hint="gate the same cells on both")
        if self.first is not None and (differs := self.first.other_cells(c.key for c in candidates)):
            hint = "runners with other cores have other cells: set `threads` under `[gate]`, or measure on equal ones"
            raise Incomparable("the first pass was of other cells", cause=differs, hint=hint)
        accepted = self.accepted()
        static = {c.key: self.static(c, accepted) for c in candidates}
        measurable = [c for c in candidates if not unfit(c)]
        timed = self.timed(measurable)
        infos = tuple(
            side.info.model_copy(update={"leptonbench_version": r.leptonbench_version, "identity": r.identity})
            for side, r in zip((self.base, self.head), reports, strict=True)
        )
        cells = tuple(self.result(c, static[c.key], timed, reports[1].identity) for c in candidates)
        return cells, (infos[0], infos[1]), tuple(notices)

    def prepare(self, side: Side, folder: Path) -> SideReport:
        """Prepare a side in a process of its own environment.

        Raises:
            Incomparable: If its leptonbench does not know the gate, or another version of its messages.
            LeptonError: What the side itself found wrong.
        """
        folder.mkdir(parents=True)
        job = side.job(self.config)
        write_message(folder / JOB_FILE, job)
        start = Start(
            "leptonbench.gate.side",
            folder,
            _PREPARE_TIMEOUT_S,
            job.threads or cores_available(),
            on_line=lambda line: self.progress.phase(f"{side.label}: {line}"),
            environment=side.environment,
            cwd=side.cwd,
        )
        start = start._replace(python=side.python) if side.python else start
        ended = run_child(start)
        try:
            found = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
            report = SideReport.model_validate(found)
        except (OSError, ValueError, ValidationError) as error:
            raise Incomparable(
                f"the leptonbench of the {side.label} (`{side.given}`) cannot be asked for a gate",
                cause="; ".join(filter(None, (ended.message, *ended.stderr[-1:]))) or str(error),
                hint=f"it wants a leptonbench with gate protocol {PROTOCOL} on both sides",
            ) from error
        if report.error is not None:
            raise Failure.model_validate(report.error).error()
        return report

    def accepted(self) -> tuple[Accepted, ...]:
        """Return the changes that are meant: the head says which."""
        path = Path(self.head.config.accepted_changes)
        return read_accepted(path) if path.is_file() else ()

    def static(self, candidate: Candidate, accepted: Sequence[Accepted]) -> list[Finding]:
        """Return the findings that need no clock: exact metrics and quality."""
        if reason := unfit(candidate):
            return [Finding(layer=Layer.DUET, metric="cell", verdict=reason[0], reason=reason[1], hint=reason[2])]
        return [*judge_exact(candidate.base, candidate.head, accepted), self.quality(candidate)]

    def quality(self, candidate: Candidate) -> Finding:
        """Compare the answers of both sides."""
        task = build_task(TaskRef.model_validate((candidate.head.job or {})["task"]))
        return judge_quality(candidate.base.answers, candidate.head.answers, task.metric, self.config.rules)

    def timed(self, candidates: Sequence[Candidate]) -> dict[str, _Timed]:
        """Measure, and confirm what looks slower; or only confirm, where another runner made the first pass."""
        rules, seed = self.config.rules, self.config.seed
        if self.first is not None:
            first, suspected = self.first, suspects(self.first.passes, rules)
            kept = {c.key: _Timed(finding=first.finding(c.key), shown=first.shown(c.key)) for c in candidates}
            return kept | self.confirm([c for c in candidates if c.key in suspected], first.passes, seed)
        samples, failed = self.duet(candidates, seed, "")
        passes = {key: one.judged() for key, one in samples.items()}
        timed = {key: _Timed(samples[key], (passes[key],), judge_duet(passes[key], rules)) for key in passes}
        timed |= {key: _Timed(finding=_broken(why)) for key, why in failed.items()}
        again = [c for c in candidates if c.key in suspects(passes, rules)]
        if again and not self.request.defer:
            timed |= self.confirm(again, passes, seed)
        return timed

    def confirm(self, suspected: Sequence[Candidate], first: Mapping[str, Pass], seed: int) -> dict[str, _Timed]:
        """Measure the suspects once more, from the start, and judge them on that alone."""
        if not suspected:
            return {}
        rules = self.config.rules
        samples, failed = self.duet(suspected, seed + _SECOND_SEED, "confirm ")
        second = {key: one.judged() for key, one in samples.items()}
        stands = confirmed(second, rules)
        return {
            key: _Timed(
                samples[key],
                (first[key], one),
                judge_duet(first[key], rules, second=one, stands=key in stands),
            )
            for key, one in second.items()
        } | {key: _Timed(passes=(first[key],), finding=_broken(why)) for key, why in failed.items()}

    def duet(self, candidates: Sequence[Candidate], seed: int, words: str) -> tuple[dict[str, Samples], dict[str, str]]:
        """Measure one pass."""

        def tell(key: str, done: int, total: int) -> None:
            self.progress.pair(f"{words}{key}", done, total)

        return Duet(self.base, self.head, self.config.rules, seed=seed, tell=tell).measure(candidates)

    def result(
        self, candidate: Candidate, static: list[Finding], timed: Mapping[str, _Timed], machine: Identity
    ) -> CellResult:
        """Put a cell's findings together."""
        one = timed.get(candidate.key, _Timed())
        told = one.shown
        if one.samples is not None:
            price = self.price(candidate.head.cell.threads, machine)
            measured = one.samples
            told = shown(
                measured.base,
                measured.head,
                latencies_s=(measured.latencies_s["A"], measured.latencies_s["B"]),
                energy=measured.energy,
                price=price,
            )
        findings = [*static, *([one.finding] if one.finding else [])]
        figures = {item.metric: (item.base, item.head) for item in told} | _known(findings)
        for name, text in self.config.budgets.items():
            budget = parse_budget(name, text)
            before, after = figures.get(budget.metric, (None, None))
            findings.append(judge_budget(budget, after, before))
        return CellResult(
            cell=candidate.head.cell,
            base_cell=candidate.base.cell if candidate.base.cell != candidate.head.cell else None,
            verdict=worst([finding.verdict for finding in findings]),
            findings=tuple(findings),
            shown=told,
            passes=one.passes,
        )

    def price(self, threads: int, machine: Identity) -> Price | None:
        """Return what an hour of this machine costs the suite's buyer; `None` where its profile has no price."""
        suite = catalog.load_suite(self.head.config.suite)
        device, _ = resolve_host(machine)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        rate = host_prices(device, suite, threads=min(threads, machine.logical_cores), date=today).rented
        if rate is None:
            return None
        use = utilisation(suite.demand, always_on=False)
        return Price(rate.value, rate.low, rate.high, rate.provenance, rate.method, use)


@dataclass(frozen=True, slots=True)
class _Timed:
    """What the duet layer has of one cell; `shown` is a first pass's, where nothing was measured again."""

    samples: Samples | None = None
    passes: tuple[Pass, ...] = ()
    finding: Finding | None = None
    shown: tuple[Shown, ...] = ()


def _known(findings: Sequence[Finding]) -> dict[str, tuple[Quantity | None, Quantity | None]]:
    """Return the figures that findings hold, for budgets; exact ones under the metrics' own tags."""
    tags = {"model_bytes": "model_size"}
    return {
        tags.get(finding.metric, finding.metric): (finding.base, finding.head)
        for finding in findings
        if tags.get(finding.metric, finding.metric) in METRICS and finding.layer is not Layer.DUET
    }


def _broken(why: str) -> Finding:
    return Finding(
        layer=Layer.DUET,
        metric="latency_p50",
        verdict=Verdict.INVALID,
        reason=why,
        hint="run that side by itself with `leptonbench run` to see more",
    )


def _notice(code: str, error: MeasurementError) -> Notice:
    cause = f": {error.cause}" if error.cause else ""
    return Notice(code=code, message=f"{error.message}{cause}", hint=error.hint)
