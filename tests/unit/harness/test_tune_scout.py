"""The search as a whole, with processes replaced by a simulated machine: what wins, what is kept, what is said."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from leptonbench.errors import MeasurementError
from leptonbench.harness.plan import plan_run
from leptonbench.harness.request import LatencyTarget, Overrides, RunRequest, Silent
from leptonbench.harness.scout import Scout, engine_name
from leptonbench.harness.search import Engine, Queue, Setting
from leptonbench.harness.system import cores_available
from leptonbench.harness.tuning import TuneRequest
from leptonbench.schema import EngineOptions
from tests.report_factory import make_run
from tests.tiny import suite_text

SLO = LatencyTarget(percentile=0.9, seconds=0.1)


class Simulated(Scout):
    """A scout whose processes are arithmetic: seconds of one inference by engine, with a little noise."""

    def __init__(self, folder: Path, *, backends: tuple[str, ...] = ("onnxruntime",), slo: LatencyTarget = SLO) -> None:
        path = folder / "suite.yaml"
        path.write_text(suite_text(backends=backends, variants=("fp32",), scenarios=("server",)), encoding="utf-8")
        asked = RunRequest(suite=str(path), model="some/model", overrides=Overrides(slo=slo))
        plan = plan_run(asked, make_run()[0].fingerprint)
        run: Any = SimpleNamespace(plan=plan, progress=Silent())
        super().__init__(TuneRequest(workload="inspection", variant="fp32", slo=slo), run, largest=4)
        self.noise = np.random.default_rng(3)
        self.broken: set[Engine] = set()
        self.probed: list[Engine] = []

    def service_s(self, engine: Engine) -> float:
        """Return what one inference takes; an override makes another machine."""
        seconds = 0.010 if engine.backend == "onnxruntime" else 0.006
        return seconds * (0.5 if engine.options.io_binding else 1.0)

    def probe(self, engine: Engine) -> dict[int, list[float]] | None:
        self.probed.append(engine)
        self.walls_s.append(0.001)
        if engine in self.broken:
            self.not_tried[engine_name(engine)] = "it crashed"
            return None
        factor = np.exp(0.01 * self.noise.standard_normal())
        return {size: [self.service_s(engine) * size**0.9 * factor] * 8 for size in (1, 2, 4)}

    def best_queue(self, times: Mapping[int, Sequence[float]], engine: Engine) -> tuple[Queue, float]:
        """Return the fullest batch: the queue model has tests of its own, and takes its time."""
        queue = Queue(max(times), 0.0)
        return queue, self.rate(times, Setting(engine, queue))

    def rate(self, times: Mapping[int, Sequence[float]], setting: Setting) -> float:
        """Return the capacity, or nothing where one inference takes longer than the target."""
        size = min(setting.queue.max_batch, max(times))
        return setting.engine.instances * size / times[size][0] if times[1][0] <= self.slo.seconds else 0.0


def _default(scout: Scout, backend: str = "onnxruntime") -> Setting:
    spec = scout.plan.scenario(scout.plan.cells[0])
    return Setting(Engine(backend, cores_available()), Queue(spec.max_batch, spec.max_wait_s))


def test_the_backend_and_the_option_that_pay_are_found(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    default = _default(scout)
    winner = scout.search(["onnxruntime"], default)
    assert winner.engine.options == EngineOptions(io_binding=True)
    assert scout.modelled(winner) > 1.5 * scout.modelled(default)


def test_a_faster_backend_wins_and_what_it_lacks_is_not_tried(tmp_path: Path) -> None:
    scout = Simulated(tmp_path, backends=("onnxruntime", "openvino"))
    scout.service_s = lambda engine: 0.010 if engine.backend == "onnxruntime" else 0.004  # type: ignore[method-assign]
    winner = scout.search(["onnxruntime", "openvino"], _default(scout))
    assert winner.engine.backend == "openvino"
    assert winner.engine.options == EngineOptions()
    assert any("io-binding" in name and "request's own buffers" in why for name, why in scout.not_tried.items())
    assert not any(engine.options.io_binding for engine in scout.probed), "what is refused costs no process"


def test_where_nothing_pays_the_default_engine_stays(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    layout = {(threads, instances) for threads, instances in [(cores_available(), 1)]}
    scout.service_s = (  # type: ignore[method-assign]
        lambda engine: 0.01 if (engine.threads, engine.instances) in layout else 0.01 * engine.instances
    )
    assert scout.search(["onnxruntime"], _default(scout)).engine == _default(scout).engine


def test_an_engine_that_crashes_loses_and_is_named(tmp_path: Path) -> None:
    scout = Simulated(tmp_path, backends=("onnxruntime", "openvino"))
    scout.broken = {Engine("openvino", cores_available())}
    winner = scout.search(["onnxruntime", "openvino"], _default(scout))
    assert winner.engine not in scout.broken
    assert scout.not_tried[engine_name(Engine("openvino", cores_available()))] == "it crashed"


def test_an_unreachable_target_names_the_best_that_was_seen(tmp_path: Path) -> None:
    scout = Simulated(tmp_path, slo=LatencyTarget(percentile=0.9, seconds=0.001))
    with pytest.raises(MeasurementError) as caught:
        scout.search(["onnxruntime"], _default(scout))
    assert "no setting meets p90 <= 1 ms" in caught.value.message
    assert "ms, by onnxruntime" in caught.value.cause
    assert caught.value.hint


def test_a_search_in_which_every_process_dies_says_so(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    scout.probe = lambda engine: scout.not_tried.update({engine_name(engine): "killed"})  # type: ignore[method-assign]
    with pytest.raises(MeasurementError, match="no setting could be probed") as caught:
        scout.search(["onnxruntime"], _default(scout))
    assert "killed" in caught.value.cause


def test_a_search_without_time_probes_the_default_and_keeps_it(tmp_path: Path) -> None:
    scout = Simulated(tmp_path, backends=("onnxruntime", "openvino"))
    scout.search_until = time.monotonic() - 1
    default = _default(scout)
    assert scout.search(["onnxruntime", "openvino"], default).engine == default.engine
    assert scout.probed == [default.engine]
    assert all("budget" in why for why in scout.not_tried.values())


def test_taking_apart_probes_every_engine_in_every_round_and_pairs_the_rates(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    default = _default(scout)
    winner = default._replace(engine=default.engine._replace(options=EngineOptions(io_binding=True)))
    without = scout.ablations(winner, default)
    assert list(without) == ["io_binding"]
    rates = scout.take_apart([default, winner, *without.values()])
    assert set(map(len, rates.values())) == {5}
    assert len(scout.probed) == 10, "two engines in five rounds: a setting that differs by its queue needs no process"
    assert all(mine > 1.5 * other for mine, other in zip(rates[winner], rates[default], strict=True))


def test_taking_apart_counts_a_failed_round_as_no_rate(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    default = _default(scout)
    winner = default._replace(engine=default.engine._replace(options=EngineOptions(io_binding=True)))
    scout.broken = {default.engine}
    assert set(scout.take_apart([default, winner])[default]) == {0.0}


@pytest.mark.parametrize(("apart", "latest", "rounds"), [(-1.0, math.inf, 3), (-1.0, -1.0, 0)])
def test_taking_apart_ends_with_its_time(tmp_path: Path, apart: float, latest: float, rounds: int) -> None:
    scout = Simulated(tmp_path)
    scout.walls_s = [0.0]
    scout.apart_until, scout.latest = time.monotonic() + apart, time.monotonic() + latest
    default = _default(scout)
    other = default._replace(queue=Queue(1, 0.0))
    assert len(scout.take_apart([default, other])[other]) == rounds


def test_options_that_the_default_backend_lacks_go_back_with_the_backend(tmp_path: Path) -> None:
    scout = Simulated(tmp_path, backends=("onnxruntime", "openvino"))
    default = _default(scout, "openvino")
    winner = Setting(Engine("onnxruntime", cores_available(), 1, EngineOptions(io_binding=True)), default.queue)
    found = scout.ablations(winner, default)
    assert found["backend and options"].engine == default.engine
    assert found["io_binding"].engine == Engine("onnxruntime", cores_available())


def test_a_settings_cell_has_its_queue_and_keeps_the_suites_key_where_it_is_the_suites(tmp_path: Path) -> None:
    scout = Simulated(tmp_path)
    default = _default(scout)
    assert scout.cell(default) == scout.plan.cells[0]
    changed = scout.cell(Setting(default.engine._replace(instances=2), Queue(8, 0.05)))
    assert changed.key.endswith(f"--b8-t{cores_available()}-i2--wait-50ms")
