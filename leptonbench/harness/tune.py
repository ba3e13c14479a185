"""`leptonbench tune`: judge, probe, halve, choose, take apart, verify; what it leaves is an ordinary run folder.

Probes are cheap and modelled (service times through the queue model); what is reported as the gain is verified: the
winner and the default run under real Poisson arrivals like every server cell, with the same rules.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Mapping, Sequence

from leptonbench.atomic import write_atomically
from leptonbench.errors import MeasurementError, UsageError
from leptonbench.harness.aggregate import rate_ratio
from leptonbench.harness.budget import Budget
from leptonbench.harness.device import HOST_CPU
from leptonbench.harness.floors import BASELINE, Floors, none_left, of_variant
from leptonbench.harness.manifest import RESUMABLE, discard, new_manifest, run_name
from leptonbench.harness.plan import plan_run
from leptonbench.harness.request import Overrides, Progress, RunOutcome, RunRequest
from leptonbench.harness.run import Run
from leptonbench.harness.scout import LARGEST, Scout, engine_name
from leptonbench.harness.search import Engine, Queue, Setting
from leptonbench.harness.system import cores_available, fingerprint
from leptonbench.harness.tuning import (
    USUAL_SUITE,
    Described,
    Tried,
    TuneRequest,
    TuneResult,
    certifiable,
    contributions,
    quantity_of,
    rate_verdict,
    ratio_of,
    window_queries,
)
from leptonbench.paths import results_dir
from leptonbench.report.naming import setting_words, slo_word
from leptonbench.schema import CellRecord, CellSpec, Notice, Quantity, RunManifest, Scenario, Status
from leptonbench.stats.summary import round_interval
from leptonbench.store import RunStore

RESULT = "tune.json"
_PREFERRED = "onnxruntime"  # the default backend where none is named: it runs every variant
_SEARCH, _APART, _LAST = 0.4, 0.55, 0.65  # of the time after preparation: ends of the search and of taking apart
_SHORTEST_S = 1.0  # window of a verifying run; the queries that it must have mostly make it longer
_START_S = 3.0  # of a run that is no window
_NO_RATE = "it meets the target at no rate"
_MORE_RUNS = 2  # beyond the rounds: one step up, and one that fails


def tune(request: TuneRequest, progress: Progress) -> tuple[RunOutcome, TuneResult]:
    """Find the setting with the highest rate within the latency target.

    Raises:
        UsageError: On unknown names, or if no backend can run the variant.
        MeasurementError: If no setting meets the target.
        LeptonError: If the model cannot be prepared, or the folder cannot be written.
    """
    started = time.monotonic()
    # fp32 is prepared and scored beside the variant, to tell how much of its quality is kept; it is not searched.
    variants = tuple(dict.fromkeys((request.variant, BASELINE)))
    filters = {"workload": (request.workload,), "variant": variants, "scenario": (Scenario.SERVER.value,)}
    filters |= {"device": (HOST_CPU,)}  # a simulated backend has no settings to search
    asked = RunRequest(
        suite=request.suite,
        filters=filters | ({"backend": request.backends} if request.backends else {}),
        rounds=request.rounds,
        budget_s=request.budget_s,
        seed=request.seed,
        model=request.model,
        data=request.data,
        overrides=Overrides(slo=request.slo),
        passed=request.passed,
        command=request.command,
    )
    machine = fingerprint()
    decided = plan_run(asked, machine)
    searched = of_variant(decided, request.variant)
    if not searched.cells:
        reasons = "; ".join(sorted({r.reason.message for r in searched.skipped if r.reason}))
        raise UsageError(
            f"no backend runs `{request.variant}` on `{request.workload}`",
            cause=reasons,
            hint="name another --backend or --variant; `leptonbench list backends` names them",
        )
    path = request.out or results_dir() / run_name("tune")
    with RunStore.create(path, marked(new_manifest(asked, searched, machine, path.name), request)) as store:
        try:
            return Tuner(request, Run(asked, decided, store, progress=progress, started=started)).go()
        except BaseException:
            if not (path / "rounds").exists():
                discard(path)
            raise


def marked(manifest: RunManifest, request: TuneRequest) -> RunManifest:
    """Say in a manifest that its cells were found by a search, so that nobody goes on with it as a plain run."""
    effective = manifest.settings.effective | {"tune": f"found by a search within {request.budget_s:g} s; see {RESULT}"}
    return manifest.model_copy(update={"settings": manifest.settings.model_copy(update={"effective": effective})})


class Tuner:
    """One search in progress.

    Args:
        request: What was asked.
        run: Planned with the default cell of every backend, and with fp32's, nothing prepared yet.
    """

    def __init__(self, request: TuneRequest, run: Run) -> None:
        self.request = request
        self.run = run
        baselines = [cell for cell in run.plan.cells if cell.variant == BASELINE != request.variant]
        self.floors = Floors(run, baselines)
        self.plan = run.plan = of_variant(run.plan, request.variant)
        self.scout = Scout(request, run, largest=LARGEST)

    def go(self) -> tuple[RunOutcome, TuneResult]:
        """Do everything."""
        self.run.prepare()
        scout = self.scout
        backends = self.good_enough(self.backends())
        left_s = max(0.0, self.run.left_s() or 0.0)
        scout.search_until, scout.apart_until, scout.latest = (
            time.monotonic() + share * left_s for share in (_SEARCH, _APART, _LAST)
        )
        default = self.usual(backends[0])
        winner = scout.search(backends, default)
        without = scout.ablations(winner, default)
        rates = scout.take_apart([default, winner, *without.values()])
        outcome = self.verify(default, winner, rate_per_s=scout.modelled(default) or scout.modelled(winner))
        result = self.result(outcome, default, winner, rates=rates, without=without)
        write_atomically(outcome.path / RESULT, result.model_dump_json(indent=1).encode() + b"\n")
        return outcome, result

    def backends(self) -> list[str]:
        """Return the backends that can run what was prepared, the default first.

        Raises:
            MeasurementError: If there is none.
        """
        reasons: dict[str, str] = {r.cell.backend: r.reason.message for r in self.plan.skipped if r.reason}
        found = []
        for cell in self.plan.cells:
            if (refusal := self.run.pantry.refusal(cell.model_copy(update={"batch": 1}))) is not None:
                reasons[cell.backend] = refusal.reason.message if refusal.reason else ""
                continue
            found.append(cell.backend)
            if self.run.pantry.refusal(cell.model_copy(update={"batch": LARGEST})) is not None:
                self.scout.largest = 1  # the model's batch dimension is fixed
        self.scout.not_tried |= reasons
        if not found:
            raise MeasurementError(
                f"`{self.request.variant}` could not be prepared for any backend",
                cause="; ".join(f"{name}: {why}" for name, why in reasons.items()),
                hint="name another --variant or --backend",
            )
        first = self.request.backends[0] if self.request.backends else _PREFERRED
        return sorted(found, key=lambda name: name != first)

    def usual(self, backend: str) -> Setting:
        """Return a backend's default: all cores, one instance, and the suite's queue."""
        spec = self.plan.scenario(self.plan.cells[0])
        return Setting(
            Engine(backend, cores_available()), Queue(min(spec.max_batch, self.scout.largest), spec.max_wait_s)
        )

    def good_enough(self, backends: Sequence[str]) -> list[str]:
        """Return the backends whose answers are not below the floor; the reasons of the others are kept.

        Raises:
            MeasurementError: If there is none.
        """
        refused = self.floors.judge_backends([self.scout.cell(self.usual(name)) for name in backends])
        self.scout.not_tried |= refused
        kept = [name for name in backends if name not in refused]
        if not kept:
            raise none_left(self.request.variant, refused)
        return kept

    def verify(self, default: Setting, winner: Setting, *, rate_per_s: float) -> RunOutcome:
        """Run the default and the winner under Poisson arrivals, as `leptonbench run` does, and write their records."""
        scout, run = self.scout, self.run
        cells = tuple(dict.fromkeys(scout.cell(setting) for setting in (default, winner)))
        # What is left is a budget of its own: its shares for scoring and measuring begin now.
        run.budget = Budget(max(0.0, run.left_s() or 0.0), time.monotonic())
        run.plan = dataclasses.replace(self.plan, cells=cells, skipped=())
        run.store.update(cells=cells)
        run.measure_null()
        scored = run.score(run.runnable(cells))
        self.floors.lend(cells)
        runs = len(cells) * (self.plan.suite.rounds + _MORE_RUNS)
        window_s = max(_SHORTEST_S, max(0.0, run.left_s() or 0.0) / runs - _START_S)
        queries = window_queries(self.request.slo, rate_per_s=rate_per_s, window_s=window_s)
        self.warn_of_time(queries / rate_per_s, window_s, runs)
        scenario = self.plan.scenario(self.plan.cells[0])
        scenarios = (scenario.model_copy(update={"min_queries": queries}),)
        suite = self.plan.suite.model_copy(update={"scenarios": scenarios, "duration_s": _SHORTEST_S})
        run.plan = dataclasses.replace(run.plan, suite=suite)
        run.duration_s = suite.duration_s
        run.store.update(suite=suite)
        run.progress.plan(run.plan.summary())
        outcome = run.complete(scored)
        records = tuple(self.with_own_hint(record) for record in outcome.records)
        return dataclasses.replace(outcome, records=records)

    def warn_of_time(self, needed_s: float, window_s: float, runs: int) -> None:
        """Say when the budget has no time for the queries that certify the percentile."""
        if needed_s <= 1.5 * window_s:
            return
        target = self.request.slo
        enough_s = self.request.budget_s + runs * (needed_s - window_s)
        self.run.tell(
            Notice(
                code="budget",
                message=f"a run that certifies p{100 * target.percentile:g} takes {needed_s:.0f} s here, "
                f"and the budget has {window_s:.0f} s for each",
                hint=f"--budget {math.ceil(enough_s / 60)}m, or a lower percentile",
            )
        )

    def with_own_hint(self, record: CellRecord) -> CellRecord:
        """Keep a record whose rounds the budget cut short from promising that the run can go on."""
        if record.reason is None or record.reason.code not in RESUMABLE:
            return record
        reason = record.reason.model_copy(update={"hint": "a larger --budget verifies it"})
        record = record.model_copy(update={"reason": reason})
        self.run.store.write_record(record)
        return record

    def result(
        self,
        outcome: RunOutcome,
        default: Setting,
        winner: Setting,
        *,
        rates: Mapping[Setting, Sequence[float]],
        without: Mapping[str, Setting],
    ) -> TuneResult:
        """Put together what was found."""
        scout = self.scout
        records = {record.cell.key: record for record in outcome.records}
        cells = [scout.cell(setting) for setting in (default, winner)]
        same = "the default itself is the winner"
        modelled = Quantity.null("1", same) if winner == default else ratio_of(rates[winner], rates[default])[0]
        speedup = Quantity.null("1", same) if winner == default else verified_ratio(*(records[c.key] for c in cells))
        best = records[cells[1].key]
        quality = self.floors.judged(cells[1], self.run.scores.get(cells[1].group))
        return TuneResult(
            slo=self.request.slo,
            default=Described.of(default),
            winner=Described.of(winner),
            default_cell=cells[0].key,
            winner_cell=cells[1].key,
            predicted={cells[0].key: scout.modelled(default), cells[1].key: scout.modelled(winner)},
            speedup=speedup,
            modelled_speedup=modelled,
            verdict="no significant difference" if winner == default else rate_verdict(speedup),
            meets_quality=quality.meets,
            quality=quality.words,
            certified_percentile=certifiable(sum(r.queries for r in best.rounds if r.status is Status.OK)),
            contributions=contributions(without, rates, winner),
            tried=tuple(self.tried(engine) for engine in scout.rates),
            not_tried=scout.not_tried,
            command=self.command(cells[1]),
        )

    def tried(self, engine: Engine) -> Tried:
        """Describe an engine that was probed, beside the one that it was compared with in the same sweeps."""
        rates, reference = self.scout.rates, self.scout.references[engine]
        mine, theirs = rates[engine], rates.get(reference, {})
        shared = sorted(mine.keys() & theirs.keys())
        ratio = ratio_of([mine[sweep] for sweep in shared], [theirs[sweep] for sweep in shared])[0]
        sound = [rate for rate in mine.values() if rate > 0]
        return Tried(
            setting=engine_name(engine),
            rate=quantity_of(round_interval(sound), unit="1/s") if sound else Quantity.null("1/s", _NO_RATE),
            against=engine_name(reference),
            ratio=Quantity.null("1", "this is what others are compared with") if engine == reference else ratio,
        )

    def command(self, cell: CellSpec) -> str:
        """Return the command that measures a cell again."""
        asked, suite = self.request, self.plan.suite
        words = ["leptonbench", "run"]
        words += ["--suite", asked.suite] if asked.suite != USUAL_SUITE else []
        words += ["--workload", cell.workload, "--variant", cell.variant, "--backend", cell.backend]
        words += ["--scenario", cell.scenario.value, "--slo", slo_word(asked.slo.percentile, asked.slo.seconds)]
        words += setting_words(cell, suite, cores=cores_available())
        words += ["--model", asked.model] if asked.model else []
        words += ["--data", str(asked.data)] if asked.data else []
        return shlex.join(words)


def verified_ratio(default: CellRecord, winner: CellRecord) -> Quantity:
    """Return the ratio of two verified rates, or why there is none."""
    for which, record in (("default", default), ("best", winner)):
        if record.status is not Status.OK:
            why = record.reason.message if record.reason else record.status.value
            return Quantity.null("1", f"the {which} setting: {why}")
    return rate_ratio(winner.metrics["throughput"], default.metrics["throughput"])
