"""What `leptonbench tune` accepts, refuses and prints; the search itself is replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leptonbench.cli.app import invoke
from leptonbench.cli.options import parse_slo, parse_wait
from leptonbench.errors import EXIT_INVALID, EXIT_OK, EXIT_USAGE, MeasurementError, UsageError
from leptonbench.harness import tune as harness
from leptonbench.harness.request import LatencyTarget, Progress, RunOutcome
from leptonbench.harness.search import Engine, Queue, Setting
from leptonbench.harness.tuning import Contribution, Described, Tried, TuneRequest, TuneResult
from leptonbench.schema import EngineOptions, Provenance, Quantity, Status
from tests.report_factory import make_run
from tests.tiny import suite_text

Out = pytest.CaptureFixture[str]
ASK = ["tune", "--workload", "inspection", "--variant", "int8-static", "--slo", "p99=20ms"]


def _ratio(value: float, low: float, high: float) -> Quantity:
    return Quantity(value=value, low=low, high=high, n=5, unit="1", provenance=Provenance.SIMULATED, method="m")


def _result(**changes: Any) -> TuneResult:
    default = Setting(Engine("onnxruntime", 2), Queue(4, 0.002))
    winner = Setting(Engine("onnxruntime", 1, 2, EngineOptions(io_binding=True)), Queue(4, 0.002))
    ok = next(record for record in make_run()[1] if record.status is Status.OK)
    without = Described.of(default)
    fields = {
        "slo": LatencyTarget(percentile=0.99, seconds=0.02),
        "default": Described.of(default),
        "winner": Described.of(winner),
        "default_cell": "elsewhere",
        "winner_cell": ok.cell.key,
        "predicted": {"elsewhere": 100.0, ok.cell.key: 151.0},
        "speedup": _ratio(1.5, 1.3, 1.7),
        "modelled_speedup": _ratio(1.45, 1.4, 1.5),
        "verdict": "faster",
        "meets_quality": True,
        "quality": "top-1 is 0.95 and must be 0.9",
        "certified_percentile": 0.99,
        "contributions": (
            Contribution(option="parallelism", without=without, ratio=_ratio(1.4, 1.3, 1.5), verdict="faster"),
            Contribution(
                option="io_binding", without=without, ratio=_ratio(1.0, 0.9, 1.1), verdict="no significant difference"
            ),
        ),
        "tried": (
            Tried(
                setting="onnxruntime t1 i2",
                rate=_ratio(151.0, 140.0, 160.0),
                against="onnxruntime t2 i1",
                ratio=_ratio(1.5, 1.3, 1.7),
            ),
        ),
        "not_tried": {"openvino t2 i1 no-arena": "it has no arena to turn off"},
        "command": "leptonbench run --workload inspection --instances 2",
    }
    return TuneResult.model_validate({**fields, **changes})


def _replace(monkeypatch: pytest.MonkeyPatch, path: Path, result: TuneResult) -> list[TuneRequest]:
    seen: list[TuneRequest] = []
    manifest, records = make_run()

    def tune(request: TuneRequest, progress: Progress) -> tuple[RunOutcome, TuneResult]:
        seen.append(request)
        path.mkdir()
        return RunOutcome(path, manifest, tuple(records)), result

    monkeypatch.setattr(harness, "tune", tune)
    return seen


def test_options_reach_the_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = _replace(monkeypatch, tmp_path / "run", _result())
    arguments = ["--backend", "openvino,onnxruntime", "--budget", "2m", "--rounds", "5", "--seed", "3", "--no-report"]
    assert invoke([*ASK, *arguments]) == EXIT_OK
    (request,) = seen
    assert request.backends == ("openvino", "onnxruntime")
    assert request.slo == LatencyTarget(percentile=0.99, seconds=0.02)
    assert (request.budget_s, request.rounds, request.seed) == (120.0, 5, 3)
    assert request.passed["slo"] == "p99=20ms"


def test_it_prints_what_was_tried_what_each_option_adds_and_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    _replace(monkeypatch, tmp_path / "run", _result())
    invoke([*ASK, "--no-report"])
    out, err = capsys.readouterr()
    assert "onnxruntime t1 i2" in out
    assert "1.5x [1.3, 1.7] of the default's rate: faster" in out
    (parallelism,) = [line for line in out.splitlines() if line.lstrip().startswith("threads x instances")]
    assert "1 x 2" in parallelism
    assert "2 x 1" in parallelism
    assert "1.4x [1.3, 1.5]" in parallelism
    (binding,) = [line for line in out.splitlines() if line.lstrip().startswith("I/O binding")]
    assert "no significant difference" in binding
    assert "again: leptonbench run --workload inspection --instances 2" in out
    assert "left out: openvino t2 i1 no-arena: it has no arena to turn off" in err


def test_a_gain_that_was_not_verified_is_not_called_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    unverified = _result(
        speedup=Quantity.null("1", "1 of 3 rounds were measured"), verdict="not verified", winner_cell="nowhere"
    )
    unverified = unverified.model_copy(update={"predicted": {"elsewhere": 100.0, "nowhere": 150.0}})
    _replace(monkeypatch, tmp_path / "run", unverified)
    assert invoke([*ASK, "--no-report"]) == EXIT_INVALID
    assert "the gain is not verified: 1 of 3 rounds were measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("meets", "ending", "words"),
    [
        (True, EXIT_OK, "its quality meets the floor: the figures"),
        (False, EXIT_INVALID, "its quality is below the floor, so its rate is of no use: the figures"),
        (None, EXIT_INVALID, "whether its quality meets the floor is unknown: the figures"),
    ],
)
def test_a_setting_is_best_only_if_its_answers_are_known_to_be_good_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out, meets: bool | None, ending: int, words: str
) -> None:
    _replace(monkeypatch, tmp_path / "run", _result(meets_quality=meets, quality="the figures"))
    assert invoke([*ASK, "--no-report"]) == ending
    out = capsys.readouterr().out
    assert words in out
    assert ("the best setting" in out) == (meets is True)


def test_a_default_that_wins_is_no_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out) -> None:
    result = _result()
    same = result.model_copy(update={"winner": result.default, "contributions": ()})
    _replace(monkeypatch, tmp_path / "run", same)
    assert invoke([*ASK, "--no-report"]) == EXIT_OK
    assert "no significant difference" in capsys.readouterr().out


def test_what_the_queries_cannot_certify_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out) -> None:
    _replace(monkeypatch, tmp_path / "run", _result(certified_percentile=0.95))
    invoke([*ASK, "--no-report"])
    assert "certify no percentile above p95: a larger --budget does" in capsys.readouterr().out


def test_json_is_one_document_with_the_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out) -> None:
    _replace(monkeypatch, tmp_path / "run", _result())
    assert invoke([*ASK, "--no-report", "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert document["speedup"]["value"] == 1.5
    assert document["run"] == str(tmp_path / "run")
    assert document["records"]
    assert TuneResult.model_validate({name: document[name] for name in TuneResult.model_fields}) == _result()


def test_an_unreachable_target_is_told_in_three_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    def tune(request: TuneRequest, progress: Progress) -> None:
        raise MeasurementError(
            "no setting meets p99 <= 20 ms at any rate", cause="the best seen: 30 ms", hint="loosen it"
        )

    monkeypatch.setattr(harness, "tune", tune)
    assert invoke(ASK) == EXIT_INVALID
    err = capsys.readouterr().err
    assert "error: no setting meets p99 <= 20 ms at any rate" in err
    assert "Caused by: the best seen: 30 ms" in err
    assert "hint: loosen it" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "inspektion"], "unknown workload `inspektion`"),
        (["--variant", "int9-static"], "unknown variant `int9-static`"),
        (["--backend", "onnx-runtime"], "unknown backend `onnx-runtime`"),
        (["--slo", "20ms"], "`20ms` is not a latency target"),
        (["--slo", "p10=20ms"], "the percentile of `p10=20ms` is out of range"),
        (["--budget", "soon"], "`soon` is not a duration"),
        (["--backend", "torch"], "no backend runs `int8-static` on `inspection`"),
    ],
)
def test_a_wrong_name_or_target_is_refused_with_a_hint(
    capsys: Out, tmp_path: Path, arguments: list[str], words: str
) -> None:
    suite = tmp_path / "suite.yaml"
    text = suite_text(backends=("onnxruntime",), variants=("int8-static",), scenarios=("server",))
    suite.write_text(text, encoding="utf-8")
    given = ["--suite", str(suite), "--out", str(tmp_path / "run")]
    assert invoke([*ASK, *given, *arguments]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert words in err
    assert "hint: " in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["--workload", "--variant", "--slo"])
def test_what_it_needs_it_asks_for(capsys: Out, missing: str) -> None:
    place = ASK.index(missing)
    assert invoke([*ASK[:place], *ASK[place + 2 :]]) == EXIT_USAGE
    assert missing in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "percentile", "seconds"),
    [("p99=20ms", 0.99, 0.02), ("p99.9 = 1s", 0.999, 1.0), ("p50=0.5m", 0.5, 30.0), ("p90=100", 0.9, 100.0)],
)
def test_a_latency_target_is_a_percentile_and_a_time(text: str, percentile: float, seconds: float) -> None:
    assert parse_slo(text) == LatencyTarget(percentile=percentile, seconds=seconds)


@pytest.mark.parametrize("text", ["", "p99", "p=20ms", "99=20ms", "p99=", "p99=fast", "p99=0ms", "p100=1s", "p49.9=1s"])
def test_what_is_no_latency_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_slo(text)


def test_no_wait_is_a_wait() -> None:
    assert parse_wait("0") == parse_wait("0ms") == 0.0
    assert parse_wait("2ms") == 0.002
    with pytest.raises(UsageError):
        parse_wait("-1ms")
