"""A run that is killed, interrupted or runs out of disk loses no completed round, and can be gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from leptonbench.schema import Status
from leptonbench.store import RunStore
from tests.doubles import CONTROL
from tests.e2e.conftest import Bench, Finished, finish, wait_until

pytestmark = pytest.mark.slow

Files = dict[str, tuple[int, bytes]]


def _files(run: Path) -> Files:
    """Return every round and its samples, with when they were written."""
    found = [path for name in ("rounds", "samples") for path in (run / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def _rounds(run: Path) -> dict[str, list[int]]:
    """Return the indices of the rounds on disk, by cell."""
    return {
        folder.name: sorted(int(path.stem) for path in folder.glob("*.json")) for folder in (run / "rounds").iterdir()
    }


class Control:
    """The doubles' control folder, as a test uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.set()

    def set(self, **wanted: object) -> None:
        """Say what the doubles of further rounds are to do, and forget what the last one that stalled wrote."""
        (self.folder / "stalled").unlink(missing_ok=True)
        (self.folder / "control.json").write_text(json.dumps(wanted), encoding="utf-8")

    @property
    def opened(self) -> int:
        """Return how many timed rounds have begun."""
        path = self.folder / "opened"
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def wait_for_stall(self, process: subprocess.Popen[str]) -> int:
        """Wait until a round stands still; return the id of its process."""
        marker = self.folder / "stalled"
        wait_until(lambda: marker.exists() or process.poll() is not None, "a round that stands still")
        if not marker.exists():
            pytest.fail(f"the run ended with {process.returncode}: {process.communicate()[1]}")
        return int(marker.read_text(encoding="utf-8"))


def _gone(pid: int) -> bool:
    """Return whether a process has ended; one that nobody has asked how it ended counts as such."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Story(NamedTuple):
    """What three invocations of one run left, in order: killed, interrupted, gone on with to the end."""

    run: Path
    suite: Path
    killed: Files
    intruder: Finished
    worker_of_killed: int
    interrupted: Files
    interruption: Finished
    worker_of_interrupted: int
    ended: Finished
    opened: int


@pytest.fixture(scope="module")
def story(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Measure two cells of three rounds: killed after the third round, interrupted after the fourth, then finished."""
    folder = tmp_path_factory.mktemp("resume")
    control = Control(folder / "control")
    extra = {CONTROL: str(control.folder), "TMPDIR": str(folder)}
    run = folder / "run"
    suite = bench.suite(folder, ["double-healthy"], scenarios=("single-stream", "offline"))

    control.set(stall_after=3)
    # Relative names, which further invocations from elsewhere must still find.
    first = bench.start("run", "--suite", "./tiny.yaml", *bench.own(), "--out", "run", cwd=folder, **extra)
    worker_of_killed = control.wait_for_stall(first)
    intruder = bench.call("run", "--resume", run, **extra)
    killed = _files(run)
    first.kill()
    first.communicate()
    wait_until(lambda: _gone(worker_of_killed), "the end of the killed run's worker")

    control.set(stall_after=5)
    second = bench.start("run", "--resume", run, **extra)
    worker_of_interrupted = control.wait_for_stall(second)
    second.send_signal(signal.SIGINT)
    interruption = finish(second)
    interrupted = _files(run)

    control.set()
    ended = bench.call("run", "--resume", run, **extra)
    return Story(
        run,
        suite,
        killed,
        intruder,
        worker_of_killed,
        interrupted,
        interruption,
        worker_of_interrupted,
        ended,
        control.opened,
    )


def test_a_killed_run_keeps_its_completed_rounds_whole(story: Story) -> None:
    assert sorted(name.partition("/")[0] for name in story.killed) == ["rounds"] * 3 + ["samples"] * 3


def test_the_worker_of_a_killed_run_is_killed_too(story: Story) -> None:
    """It was in native code, with the interpreter's lock held and SIGTERM blocked."""
    assert _gone(story.worker_of_killed)
    assert _gone(story.worker_of_interrupted)


def test_a_run_that_goes_on_has_one_writer(story: Story) -> None:
    assert story.intruder.code == 2
    assert "is being written by another run" in story.intruder.err
    assert "Traceback" not in story.intruder.err


def test_an_interrupt_keeps_what_was_completed_and_says_how_to_go_on(story: Story) -> None:
    assert story.interruption.code == 130
    assert f"leptonbench run --resume {story.run}" in story.interruption.err
    assert "Traceback" not in story.interruption.err
    assert len(story.interrupted) == 8
    assert {name: story.interrupted[name] for name in story.killed} == story.killed


def test_no_completed_round_is_lost_or_measured_again(story: Story) -> None:
    after = _files(story.run)
    assert {name: after[name] for name in story.interrupted} == story.interrupted
    assert list(_rounds(story.run).values()) == [[0, 1, 2], [0, 1, 2]]
    assert story.opened == 6 + 2, "six rounds, and the two that stood still"


def test_the_run_is_completed(story: Story) -> None:
    assert story.ended.code == 0, story.ended.err
    assert "Traceback" not in story.ended.err
    store = RunStore.open(story.run)
    assert store.manifest.finished is not None
    records = store.records()
    assert [record.status for record in records] == [Status.OK, Status.OK]
    assert [len(record.rounds) for record in records] == [3, 3]
    assert (story.run / "report.html").is_file()


def test_nothing_half_written_is_left(story: Story) -> None:
    assert [path for path in story.run.rglob("*") if path.name.endswith(".tmp")] == []


def test_a_complete_run_is_not_measured_again(story: Story, bench: Bench) -> None:
    again = bench.call("run", "--resume", story.run)
    assert again.code == 2
    assert "is complete" in again.err and "hint: start a new run" in again.err


def test_a_run_whose_suite_was_edited_does_not_go_on(story: Story, bench: Bench, tmp_path: Path) -> None:
    """The rounds before and after would not be comparable."""
    manifest = json.loads((story.run / "manifest.json").read_text(encoding="utf-8"))
    manifest["finished"] = None
    suite = story.suite.read_text(encoding="utf-8").replace("max_batch: 2", "max_batch: 4")
    (tmp_path / "tiny.yaml").write_text(suite, encoding="utf-8")
    manifest["settings"]["effective"]["suite"] = str(tmp_path / "tiny.yaml")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    ended = bench.call("run", "--resume", tmp_path / "run")
    assert ended.code == 2
    assert "error: the suite of run `run` changed since it was started" in ended.err
    assert not (tmp_path / "run" / "rounds").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"this system lets nobody mount: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_costs_no_completed_round(bench: Bench, small_disk: Path, tmp_path: Path) -> None:
    """The third round fills the disk while it is measured, so it cannot be kept; the first two can."""
    control = Control(tmp_path / "control")
    extra = {CONTROL: str(control.folder), "TMPDIR": str(tmp_path)}
    filler, run = small_disk / "filler", small_disk / "run"
    suite = bench.suite(tmp_path, ["double-healthy"])
    control.set(fill_after=2, fill=str(filler))
    full = bench.call("run", "--suite", suite, *bench.own(), "--out", run, **extra)
    assert full.code == 2, full.err
    assert "Traceback" not in full.err
    assert "Caused by: No space left on device" in full.err
    assert "hint: free some space" in full.err
    kept = _files(run)
    assert [indices for indices in _rounds(run).values()] == [[0, 1]]

    control.set()
    filler.unlink()
    ended = bench.call("run", "--resume", run, **extra)
    assert ended.code == 0, ended.err
    after = _files(run)
    assert {name: after[name] for name in kept} == kept
    assert list(_rounds(run).values()) == [[0, 1, 2]]
