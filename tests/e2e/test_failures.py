"""Every way an engine can fail leaves a classified record, and costs no other cell anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from leptonbench.schema import CellRecord, RoundRecord, RunManifest, Status
from leptonbench.store import RunStore
from tests.e2e.conftest import Bench, Finished, finish

pytestmark = pytest.mark.slow

HANG_TIMEOUT = "15s"

# By double: how the record of its cell is classified.
CODES = {
    "double-segfault-score": "crash",
    "double-segfault-window": "crash",
    "double-exhaust-score": "out-of-memory",
    "double-exhaust-window": "out-of-memory",
    "double-bad-alloc-score": "out-of-memory",
    "double-bad-alloc-window": "out-of-memory",
    "double-killed-score": "out-of-memory",
    "double-killed-window": "out-of-memory",
    "double-nan-score": "non-finite",
    "double-nan-window": "non-finite",
    "double-raise-score": "crash",
    "double-raise-window": "crash",
    "double-refuse-score": "refused",
    "double-refuse-window": "refused",
}
HEALTHY = ("double-healthy", "double-witness", "double-wrong")
OTHERS = ("double-wrong-window", "double-unsupported")
HANGING = ("double-hang-score", "double-hang-window")


class Sweep(NamedTuple):
    """A finished run: how the command ended, and what it left."""

    ended: Finished
    folder: Path
    manifest: RunManifest
    records: dict[str, CellRecord]


def _read(ended: Finished, folder: Path) -> Sweep:
    store = RunStore.open(folder)
    return Sweep(ended, folder, store.manifest, {record.cell.backend: record for record in store.records()})


@pytest.fixture(scope="module")
def sweeps(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sweep, Sweep]]:
    """Run the doubles that fail at once, and beside them (they only sleep) the two that hang."""
    folder = tmp_path_factory.mktemp("failures")
    hanging = bench.start(
        *("run", "--suite", bench.suite(folder, (*HANGING, "double-healthy")), *bench.own()),
        *("--out", folder / "hanging", "--round-timeout", HANG_TIMEOUT),
    )
    suite = folder / "failing"
    suite.mkdir()
    backends = (*CODES, *HEALTHY, *OTHERS)
    failing = bench.call("run", "--suite", bench.suite(suite, backends), *bench.own(), "--out", folder / "out")
    yield _read(failing, folder / "out"), _read(finish(hanging), folder / "hanging")


@pytest.fixture
def failing(sweeps: tuple[Sweep, Sweep]) -> Sweep:
    return sweeps[0]


@pytest.fixture
def hanging(sweeps: tuple[Sweep, Sweep]) -> Sweep:
    return sweeps[1]


@pytest.mark.parametrize("backend", CODES)
def test_a_failing_engine_leaves_a_classified_record(failing: Sweep, backend: str) -> None:
    record = failing.records[backend]
    assert record.status is Status.FAILED
    assert record.reason is not None
    assert record.reason.code == CODES[backend]
    assert record.reason.message
    assert all(record.metrics[tag].value is None for tag in ("latency_p50", "speedup") if tag in record.metrics)


@pytest.mark.parametrize("backend", [name for name in CODES if name.endswith("-window")])
def test_a_failure_inside_the_window_is_kept_as_the_only_round(failing: Sweep, backend: str) -> None:
    """Its other rounds are not tried, and what was known before the failure is not thrown away."""
    (kept,) = failing.records[backend].rounds
    assert kept.status is Status.FAILED
    assert kept.reason == failing.records[backend].reason
    stored = json.loads((failing.folder / "rounds" / failing.records[backend].cell.key / "0.json").read_text("utf-8"))
    del stored["schema_version"]
    assert RoundRecord.model_validate(stored) == kept
    assert failing.records[backend].metrics["quality"].value == 1.0


@pytest.mark.parametrize("backend", [name for name in CODES if name.endswith("-score")])
def test_an_engine_that_cannot_be_scored_is_not_timed(failing: Sweep, backend: str) -> None:
    assert failing.records[backend].rounds == ()
    assert not (failing.folder / "rounds" / failing.records[backend].cell.key).exists()


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("double-segfault-score", "double: reading address 8"),
        ("double-segfault-window", "double: reading address 8"),
        ("double-bad-alloc-window", "std::bad_alloc"),
        ("double-raise-window", "and says so in two lines"),
    ],
)
def test_the_engines_last_words_are_in_the_record(failing: Sweep, backend: str, said: str) -> None:
    reason = failing.records[backend].reason
    assert reason is not None
    assert any(said in line for line in reason.stderr)


def test_a_signal_is_named(failing: Sweep) -> None:
    reason = failing.records["double-segfault-window"].reason
    assert reason is not None
    assert reason.message == "the process died of SIGSEGV"


def test_an_engines_exception_is_quoted(failing: Sweep) -> None:
    reason = failing.records["double-raise-score"].reason
    assert reason is not None
    assert "RuntimeError: the double refuses this batch" in reason.message


def test_an_engines_own_error_keeps_its_three_parts(failing: Sweep) -> None:
    reason = failing.records["double-refuse-window"].reason
    assert reason is not None
    assert reason.message == "the double does not run this: it was told to refuse"
    assert reason.hint == "use another double"


def test_every_failure_says_what_would_help(failing: Sweep, hanging: Sweep) -> None:
    for record in (*failing.records.values(), *hanging.records.values()):
        assert record.reason is None or record.reason.hint, record.cell.backend


@pytest.mark.parametrize("backend", HEALTHY)
def test_healthy_cells_among_them_are_measured(failing: Sweep, backend: str) -> None:
    record = failing.records[backend]
    assert record.status is Status.OK
    assert [round_.index for round_ in record.rounds] == [0, 1, 2]
    assert record.metrics["latency_p50"].n == 3


def test_the_double_takes_the_time_it_is_made_to(failing: Sweep) -> None:
    p50 = failing.records["double-healthy"].metrics["latency_p50"].value
    assert p50 is not None and p50 >= 0.001


def test_wrong_answers_lower_the_quality(failing: Sweep) -> None:
    assert failing.records["double-healthy"].metrics["quality"].value == 1.0
    assert failing.records["double-wrong"].metrics["quality"].value == 0.0


def test_other_answers_under_load_than_when_scored_make_the_cell_invalid(failing: Sweep) -> None:
    record = failing.records["double-wrong-window"]
    assert record.status is Status.INVALID
    assert record.reason is not None and record.reason.code == "answers-differ"
    assert record.metrics["latency_p50"].value is not None, "the numbers of an invalid cell stay"


def test_an_unsupported_cell_is_skipped_with_reason_and_hint(failing: Sweep) -> None:
    record = failing.records["double-unsupported"]
    assert record.status is Status.SKIPPED
    assert record.reason is not None
    assert (record.reason.code, record.reason.message) == ("unsupported", "the double supports nothing")
    assert record.reason.hint == "ask another double"


@pytest.mark.parametrize("backend", HANGING)
def test_a_hanging_engine_is_stopped(hanging: Sweep, backend: str) -> None:
    """It blocks SIGTERM and holds the interpreter's lock, so only SIGKILL ends it."""
    record = hanging.records[backend]
    assert record.status is Status.FAILED
    assert record.reason is not None and record.reason.code == "timeout"
    assert "double: waiting for ever in native code" in record.reason.stderr
    assert len(record.rounds) == (1 if backend.endswith("window") else 0)
    assert hanging.records["double-healthy"].status is Status.OK


def test_failed_cells_make_the_exit_code_3_and_the_run_complete(failing: Sweep, hanging: Sweep) -> None:
    for sweep in (failing, hanging):
        assert sweep.ended.code == 3
        assert sweep.manifest.finished is not None
        assert {cell.backend for cell in sweep.manifest.cells} == set(sweep.records)
        assert "Traceback" not in sweep.ended.out + sweep.ended.err


def test_the_report_is_written_and_names_the_failures(failing: Sweep) -> None:
    report = failing.folder / "report.html"
    assert failing.ended.out.splitlines()[-1] == f"report: {report}"
    page = report.read_text(encoding="utf-8")
    assert "double-segfault-window" in page
    assert "SIGSEGV" in page


def test_the_terminal_names_each_failure(failing: Sweep) -> None:
    for backend in CODES:
        assert any(line.startswith("failed:") and backend in line for line in failing.ended.err.splitlines()), backend


def test_a_worker_imports_the_engine_of_its_cell_and_no_other(failing: Sweep) -> None:
    """Also no model library and no frames: what a worker imports is what it has to start each round."""
    assert failing.records["double-healthy"].rounds[0].effective["imported"] == []
    assert failing.records["double-witness"].rounds[0].effective["imported"] == ["onnxruntime"]


def test_nothing_outlives_a_run(sweeps: tuple[Sweep, Sweep], bench: Bench) -> None:
    """Neither a child (they name their scratch folder on their command lines) nor a scratch folder."""
    assert bench.alive() == []
    assert list(bench.scratch.glob("leptonbench-*")) == []
