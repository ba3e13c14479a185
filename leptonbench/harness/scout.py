"""Probe settings in fresh processes, and search among them: what decides is in `search`, what runs is here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from leptonbench.errors import MeasurementError
from leptonbench.harness.accelerator import device_features
from leptonbench.harness.children import run_worker, scratch_folder
from leptonbench.harness.plan import why_unsupported
from leptonbench.harness.probe import SERVICE
from leptonbench.harness.rate import search_percentile
from leptonbench.harness.run import Run
from leptonbench.harness.search import (
    Engine,
    Queue,
    Setting,
    ablations,
    best_queue,
    choose,
    halve,
    layouts,
    option_changes,
    sustained_rate,
)
from leptonbench.harness.system import cores_available
from leptonbench.harness.tuning import TuneRequest
from leptonbench.schema import CellSpec, EngineOptions
from leptonbench.stats.early_stopping import minimum_queries

LARGEST = 16  # batch that is probed at most: beyond it CPUs gain nothing
_PROBE_S = 0.25  # of each batch size
_PROBE_SAMPLES = 16
_SWEEPS, _ROUNDS, _LEAST = 4, 5, 3  # of finalists; of settings that are taken apart, and the fewest for an interval
_ASCENTS = 3  # times that the options of the best engine are gone through
_LATE = 8  # queries that a verifying run should afford late, for the model's percentile
_SAME_QUEUE = 1.02  # gain below which the default queue is kept: the simulation is no finer


def engine_name(engine: Engine) -> str:
    """Name an engine: `openvino t1 i2 io-binding`."""
    return " ".join((engine.backend, f"t{engine.threads}", f"i{engine.instances}", *engine.options.tags))


class Scout:
    """The probes of one search.

    Args:
        request: What was asked.
        run: Planned with the default cell of every backend, and prepared.
        largest: Batch that the model takes.

    Attributes:
        search_until: Monotonic time at which to stop searching.
        apart_until: Likewise taking the winner apart, once there are rounds enough for an interval.
        latest: Likewise, however few rounds there are.
        not_tried: Reasons by what was left out or failed.
        rates: Of each engine behind its best queue, by sweep.
        references: What each engine was compared with.
    """

    def __init__(self, request: TuneRequest, run: Run, *, largest: int) -> None:
        self.slo = request.slo
        self.seed = request.seed
        self.run = run
        self.plan = run.plan
        self.rng = np.random.default_rng((request.seed, 77))
        self.percentile = search_percentile(minimum_queries(self.slo.percentile, _LATE), self.slo.percentile)
        self.search_until = self.apart_until = self.latest = math.inf
        self.largest = largest
        self.times: dict[Engine, list[dict[int, list[float]]]] = {}
        self.rates: dict[Engine, dict[int, float]] = {}
        self.references: dict[Engine, Engine] = {}
        self.sweeps = 0
        self.not_tried: dict[str, str] = {}
        self.walls_s: list[float] = []

    def cell(self, setting: Setting) -> CellSpec:
        """Return the server cell of a setting."""
        engine, queue = setting
        usual = next(cell for cell in self.plan.cells if cell.backend == engine.backend)
        changes: dict[str, object] = {"threads": engine.threads, "instances": engine.instances}
        changes |= {"options": engine.options, "batch": queue.max_batch}
        if queue.max_wait_s != self.plan.scenario(usual).max_wait_s:
            changes["max_wait_s"] = queue.max_wait_s
        return usual.model_copy(update=changes)

    def supported(self, engine: Engine) -> bool:
        """Return whether the backend can honour the options; if not, the reason is kept."""
        cell = self.cell(Setting(engine, Queue(1, 0.0)))
        reason = why_unsupported(
            cell,
            workload=self.plan.workload(cell),
            variant=self.plan.variant(cell),
            features=device_features(cell.device),
        )
        if reason is not None:
            self.not_tried[engine_name(engine)] = reason.message
        return reason is None

    def probe(self, engine: Engine) -> dict[int, list[float]] | None:
        """Measure an engine's service times in a fresh process; `None` if it failed, with the reason kept."""
        cell = self.cell(Setting(engine, Queue(self.largest, 0.0)))
        began = time.monotonic()
        with scratch_folder() as folder:
            job = self.run.job(cell, mode="probe", out=folder, samples=_PROBE_SAMPLES)
            job = job.model_copy(update={"duration_s": _PROBE_S})
            found, ended = run_worker(job, timeout_s=self.run.timeout_s(cell))
        self.walls_s.append(time.monotonic() - began)
        if found is None or found.error is not None:
            self.not_tried[engine_name(engine)] = found.error.message if found and found.error else ended.message
            return None
        return {int(size): times for size, times in found.effective[SERVICE].items()}

    def sweep(self, engines: Sequence[Engine]) -> dict[Engine, float]:
        """Probe each engine once, in random order; the first engine of all comes first, so that nothing lacks it."""
        order = [engines[int(i)] for i in self.rng.permutation(len(engines))]
        rates: dict[Engine, float] = {}
        self.sweeps += 1
        for number, engine in enumerate(order if self.times else [engines[0], *(e for e in order if e != engines[0])]):
            if self.times and time.monotonic() > self.search_until:
                self.not_tried.setdefault(engine_name(engine), "the budget left no time for all of its sweeps")
                continue
            self.run.progress.phase(f"probe {engine_name(engine)}", done=number, total=len(order))
            times = self.probe(engine)
            if times is not None:
                self.times.setdefault(engine, []).append(times)
                rates[engine] = self.best_queue(times, engine)[1]
                self.rates.setdefault(engine, {})[self.sweeps] = rates[engine]
                self.references.setdefault(engine, engines[0])
        return rates

    def go_on(self, count: int) -> bool:
        """Return whether the search has time for a sweep of so many engines."""
        return time.monotonic() + self.needs_s(count) <= self.search_until

    def needs_s(self, count: int) -> float:
        """Return how long so many probes take, by those made; 0.0 before the first."""
        return count * median(self.walls_s) if self.walls_s else 0.0

    def search(self, backends: Iterable[str], default: Setting) -> Setting:
        """Return the best setting: backend and parallelism first, then the options of the best, then its queue.

        Raises:
            MeasurementError: If nothing meets the target.
        """
        engines = [Engine(name, *layout) for name in backends for layout in layouts(cores_available())]
        rates = halve(engines, self.sweep, default=default.engine, sweeps=_SWEEPS, go_on=self.go_on)
        found = choose(rates, default.engine)
        if found is None:
            raise self.unreachable()
        best = found
        for _ in range(_ASCENTS):
            changed = [best._replace(options=options) for options in option_changes(best.options)]
            changed = [engine for engine in changed if engine not in self.times and self.supported(engine)]
            if not changed or not self.go_on(len(changed) + 1):
                break
            rates = halve(changed, self.sweep, default=best, sweeps=_SWEEPS, go_on=self.go_on)
            found = choose(rates, best) or best
            if found == best:
                break
            best = found
        queue, rate = self.best_queue(self.pooled(best), best)
        usual = Setting(best, default.queue)
        return usual if rate <= _SAME_QUEUE * self.modelled(usual) else Setting(best, queue)

    def best_queue(self, times: Mapping[int, Sequence[float]], engine: Engine) -> tuple[Queue, float]:
        """Return an engine's best queue by these service times, and its rate."""
        return best_queue(times, engine, self.slo, percentile=self.percentile, seed=self.seed)

    def pooled(self, engine: Engine) -> dict[int, list[float]]:
        """Return an engine's service times of all of its probes, of the sizes that each of them reached."""
        probes = self.times[engine]
        sizes = set(probes[0]).intersection(*probes[1:])
        return {size: [time_s for probe in probes for time_s in probe[size]] for size in sorted(sizes)}

    def modelled(self, setting: Setting) -> float:
        """Return the rate that the queue model gives a setting from all of its probes; 0.0 without any."""
        if setting.engine not in self.times:
            return 0.0
        return self.rate(self.pooled(setting.engine), setting)

    def rate(self, times: Mapping[int, Sequence[float]], setting: Setting) -> float:
        """Return the rate that the queue model gives a setting from some service times."""
        return sustained_rate(times, setting, self.slo, percentile=self.percentile, seed=self.seed)

    def unreachable(self) -> MeasurementError:
        """Say that nothing meets the target, and the best that was seen."""
        target = f"p{100 * self.slo.percentile:g} <= {1e3 * self.slo.seconds:g} ms"
        if not self.times:
            return MeasurementError(
                "no setting could be probed",
                cause="; ".join(f"{name}: {why}" for name, why in self.not_tried.items()),
                hint="see what `leptonbench run` says of this workload, variant and backend",
            )
        alone = {engine: float(np.quantile(self.pooled(engine)[1], self.slo.percentile)) for engine in self.times}
        best = min(alone, key=lambda engine: alone[engine])
        return MeasurementError(
            f"no setting meets {target} at any rate",
            cause=f"the best seen, with nobody waiting: {1e3 * alone[best]:.3g} ms, by {engine_name(best)}",
            hint="loosen --slo, or name a smaller --variant; queries that queue need some time beside that",
        )

    def ablations(self, winner: Setting, default: Setting) -> dict[str, Setting]:
        """Return the winner with each option put back; what a backend cannot honour goes back with the backend."""
        found: dict[str, Setting] = {}
        for option, setting in ablations(winner, default).items():
            if option == "backend" and not self.supported(setting.engine):
                plain = setting.engine._replace(options=EngineOptions())
                found["backend and options"] = setting._replace(engine=plain)
            elif self.supported(setting.engine):
                found[option] = setting
        return found

    def take_apart(self, settings: Sequence[Setting]) -> dict[Setting, list[float]]:
        """Probe settings over fresh rounds, all of them in each; return their modelled rates by round.

        A round in which a setting's engine failed, or meets the target at no rate, counts as 0.0.
        """
        rates: dict[Setting, list[float]] = {setting: [] for setting in settings}
        engines = list(dict.fromkeys(setting.engine for setting in rates))
        for done in range(_ROUNDS if len(rates) > 1 else 0):
            ends = time.monotonic() + self.needs_s(len(engines))
            if ends > (self.apart_until if done >= _LEAST else self.latest):
                break
            self.run.progress.phase("measure what each option contributes", done=done, total=_ROUNDS)
            order = [engines[int(i)] for i in self.rng.permutation(len(engines))]
            probed = {engine: self.probe(engine) for engine in order}
            for setting, values in rates.items():
                times = probed[setting.engine]
                values.append(self.rate(times, setting) if times else 0.0)
        return rates
