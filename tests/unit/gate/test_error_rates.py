"""The benchmark of the gate's errors: lines that can be gone on from, rates over them, noise replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gate_error_rates as benchmark
from leptonbench.errors import PrerequisiteError
from leptonbench.gate.model import Pass
from tests.gate_factory import measured


def _line(kind: str, verdict: str, *, flagged: bool = False) -> dict[str, Any]:
    return {"kind": kind, "verdict": verdict, "flagged": flagged, "wall_s": 100.0, "noise": 0.01, **_SPENT}


_SPENT: dict[str, Any] = {"prepared_s": 10.0, "passes": [measured(0).model_dump()]}
_WINDOW_S = 0.5


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "LINES", tmp_path / "lines.jsonl")
    monkeypatch.setenv("PYTHONPATH", "")
    made: list[tuple[str, int]] = []

    def one_gate(kind: str, folder: Path, seed: int, window_s: float) -> dict[str, Any]:
        made.append((kind, seed))
        return {**_line(kind, "pass"), "reason": "", "seed": seed}

    monkeypatch.setattr(benchmark, "one_gate", one_gate)
    same = benchmark.setting(_WINDOW_S)
    benchmark.record({**_line("identical", "pass"), "setting": {**same, "window_s": 9.0}})
    benchmark.record({**_line("identical", "pass"), "setting": same})
    with (tmp_path / "lines.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"kind": "identical", "verd')  # killed in the middle of it
    wanted = {"identical": 3, "slowed-5": 1, "slowed-10": 1}
    benchmark.measure(wanted, limit_s=60, window_s=_WINDOW_S)
    assert sorted(made) == [("identical", 1), ("identical", 2), ("slowed-10", 2000), ("slowed-5", 1000)]
    benchmark.measure(wanted, limit_s=60, window_s=_WINDOW_S)
    assert len(made) == 4 and len(benchmark.read_lines(same)) == 5 and len(benchmark.read_lines()) == 6
    assert json.loads((tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()[0])["kind"] == "identical"


def test_rates_have_their_goals() -> None:
    lines = [_line("identical", "pass")] * 58 + [
        _line("identical", "inconclusive"),
        _line("identical", "pass", flagged=True),
    ]
    lines += [_line("slowed-10", "regressed")] * 19 + [_line("slowed-10", "pass")]
    found = {outcome.name: outcome for outcome in benchmark.rates(lines)}
    assert found["identical sides: red"].value == 0 and found["identical sides: red"].met
    assert found["identical sides: flagged in the first pass"].met
    assert found["10% slower: red"].value == 0.95 and found["10% slower: red"].met
    assert not any(outcome.name.startswith("5%") for outcome in found.values())
    assert found["  each of its processes"].value == pytest.approx(90.0 / 60)
    assert found["longest gate without a second pass"].value == 100.0


def test_a_gate_that_breaks_is_a_line_and_counts_as_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise PrerequisiteError("no engine", hint="install it")

    monkeypatch.setattr(benchmark, "run_gate", breaks)
    line = benchmark.one_gate("identical", tmp_path, 0, _WINDOW_S)
    assert line["verdict"] == "invalid" and "no engine" in line["reason"] and line["passes"] == []
    found = {outcome.name: outcome for outcome in benchmark.rates([line])}
    assert found["identical sides: inconclusive or invalid"].value == 1.0


def test_the_pages_table_has_every_figure_with_its_goal() -> None:
    text = benchmark.markdown(benchmark.rates([_line("identical", "pass")] * 60))
    assert "| identical sides: red | 0.00% | 0.00% to 6.02% | 60 | at most 0.0% |" in text
    assert "| longest gate without a second pass | 100 s | - | 60 | at most 240 s |" in text


def test_fewer_queries_a_process_are_noisier() -> None:
    random = np.random.default_rng(3)
    base, head = ([0.02 * np.exp(random.normal(0, 0.1, 30)) for _ in range(40)] for _ in range(2))
    noises = [outcome.value for outcome in benchmark.prefix_noises(base, head)]
    assert len(noises) == 6 and noises[0] > 1.5 * noises[-1]


def test_replayed_noise_keeps_what_a_gates_pairs_have_in_common() -> None:
    steady: list[Pass] = [measured(seed, noise=0.01) for seed in range(10)]
    assert benchmark.simulate(steady, 300) == (0, 0)
    biased = [measured(seed, noise=0.01, slower=0.1) for seed in range(10)]
    flags, reds = benchmark.simulate(biased, 50)
    assert flags == reds == 50
