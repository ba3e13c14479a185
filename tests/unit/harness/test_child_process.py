"""Child processes: how each end is told apart, that none outlives its parent, and that waiting costs nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from leptonbench.harness.process import Ended, Start, run_child, run_children

LIMIT_S = 120.0
Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a piece of Python as the module of a child; `folder` is its job's folder."""
    modules = tmp_path / "modules"
    modules.mkdir()
    folder = tmp_path / "job"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(modules))

    def run(code: str, *, timeout_s: float = LIMIT_S, on_line: Callable[[str], None] | None = None) -> Ended:
        text = f"import ctypes, os, signal, subprocess, sys, time\nfolder = sys.argv[1]\n{code}\n"
        (modules / "lepton_child.py").write_text(text, encoding="utf-8")
        return run_child(Start("lepton_child", folder, timeout_s, 3, on_line))

    return run


def _start(tmp_path: Path, name: str, code: str, *, timeout_s: float = LIMIT_S, lines: list[str]) -> Start:
    """Return a child of its own module and folder, whose lines are kept."""
    (tmp_path / "modules" / f"{name}.py").write_text(f"import os, sys, time\n{code}\n", encoding="utf-8")
    folder = tmp_path / name
    folder.mkdir()
    return Start(name, folder, timeout_s, 1, lines.append)


def test_children_beside_each_other_each_have_their_lines_and_their_end(tmp_path: Path, run: Run) -> None:
    """The first waits for a file that the second writes: they do run at the same time."""
    lines: dict[str, list[str]] = {name: [] for name in ("first", "second", "third")}
    flag = tmp_path / "flag"
    starts = [
        _start(
            tmp_path,
            "first",
            f"while not os.path.exists({str(flag)!r}): time.sleep(0.01)\nprint('a')\nprint('b', end='')",
            lines=lines["first"],
        ),
        _start(tmp_path, "second", f"print('c', flush=True)\nopen({str(flag)!r}, 'w')", lines=lines["second"]),
        _start(tmp_path, "third", "print('d')\nsys.exit(3)", lines=lines["third"]),
    ]
    ends = dict(run_children(starts, at_once=2))
    assert [ends[index].code for index in range(3)] == ["ok", "ok", "crash"]
    assert lines == {"first": ["a"], "second": ["c"], "third": ["d"]}


def test_a_child_that_hangs_does_not_keep_the_others(tmp_path: Path, run: Run) -> None:
    lines: list[str] = []
    starts = [
        _start(tmp_path, "hanging", "print(os.getpid(), flush=True)\ntime.sleep(600)", timeout_s=3.0, lines=lines),
        _start(tmp_path, "working", "print('done')", lines=[]),
    ]
    assert [ended.code for _, ended in run_children(starts, at_once=1)] == ["timeout", "ok"]
    assert _gone(int(lines[0]))


def test_an_error_of_the_reader_leaves_no_child_behind(tmp_path: Path, run: Run) -> None:
    pids: list[str] = []

    def refuse(line: str) -> None:
        raise RuntimeError(line)

    flag = tmp_path / "flag"
    told = f"print(os.getpid(), flush=True)\nopen({str(flag)!r}, 'w')\ntime.sleep(600)"
    then = f"while not os.path.exists({str(flag)!r}): time.sleep(0.01)\nprint('no', flush=True)\ntime.sleep(600)"
    hanging = _start(tmp_path, "hanging", told, lines=pids)
    speaking = _start(tmp_path, "speaking", then, lines=[])
    with pytest.raises(RuntimeError, match="no"):
        list(run_children([hanging, speaking._replace(on_line=refuse)], at_once=2))
    assert _gone(int(pids[0]))


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come")
        time.sleep(0.01)


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        ("pass", "ok", ""),
        ("sys.exit(3)", "crash", "the process exited with 3"),
        ("raise RuntimeError('broken')", "crash", "the process exited with 1"),
        ("ctypes.string_at(8)", "crash", "the process died of SIGSEGV"),
        ("os.abort()", "crash", "the process died of SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out-of-memory", "killed from outside"),
        ("raise MemoryError", "out-of-memory", "ran out of memory"),
        ("print('terminate: std::bad_alloc', file=sys.stderr, flush=True); os.abort()", "out-of-memory", "ran out"),
        ("print('DefaultCPUAllocator: not enough memory', file=sys.stderr); sys.exit(1)", "out-of-memory", "ran out"),
        ("print('out of memory', file=sys.stderr)", "ok", ""),
    ],
)
def test_each_end_has_its_class(run: Run, code: str, expected: str, message: str) -> None:
    ended = run(code)
    assert ended.code == expected
    assert message in ended.message
    assert ended.wall_s > 0


def test_the_last_lines_of_stderr_are_kept(run: Run) -> None:
    ended = run("for i in range(100): print('line', i, file=sys.stderr)")
    assert ended.stderr == tuple(f"line {i}" for i in range(88, 100))


def test_what_is_no_text_does_not_hide_the_end(run: Run) -> None:
    ended = run("sys.stderr.buffer.write(b'\\xff\\xfe broken'); sys.stderr.flush(); os.abort()")
    assert ended.code == "crash"
    assert "broken" in ended.stderr[0]


def test_stdout_goes_with_stderr_where_nobody_reads_it(run: Run) -> None:
    assert "said aloud" in run("print('said aloud')").stderr


def test_the_thread_pools_are_sized_by_the_environment(run: Run) -> None:
    said: list[str] = []
    run("print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])", on_line=said.append)
    assert said == ["3 3"]


def test_the_child_is_told_who_its_parent_is(run: Run) -> None:
    said: list[str] = []
    run("print(sys.argv[2], os.getppid())", on_line=said.append)
    assert said == [f"{os.getpid()} {os.getpid()}"]


_STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
open(folder + "/pids", "w").write(f"{os.getpid()} {child.pid}")
print("waiting", file=sys.stderr, flush=True)
ctypes.PyDLL(None).sleep(3600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("followed", [False, True])
def test_a_child_out_of_time_is_killed_with_its_children(run: Run, tmp_path: Path, followed: bool) -> None:
    """It ignores SIGTERM and sits in native code; its own child would go on for an hour."""
    ended = run(_STUBBORN, timeout_s=5.0, on_line=(lambda line: None) if followed else None)
    assert ended.code == "timeout"
    assert ended.message.startswith("no result after 5 s")
    assert ended.stderr == ("waiting",)
    for pid in map(int, (tmp_path / "job" / "pids").read_text(encoding="utf-8").split()):
        _wait_until(lambda pid=pid: _gone(pid), "the end of a killed process")  # type: ignore[misc]


def test_children_that_a_child_leaves_behind_are_killed(run: Run, tmp_path: Path) -> None:
    code = _STUBBORN.replace("ctypes.PyDLL(None).sleep(3600)", "sys.exit(0)")
    assert run(code).code == "ok"
    pid = int((tmp_path / "job" / "pids").read_text(encoding="utf-8").split()[1])
    _wait_until(lambda: _gone(pid), "the end of an orphan")


def test_an_error_of_the_reader_kills_the_child(run: Run, tmp_path: Path) -> None:
    def stumble(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(_STUBBORN.replace('print("waiting", file=sys.stderr', 'print("waiting"'), on_line=stumble)
    for pid in map(int, (tmp_path / "job" / "pids").read_text(encoding="utf-8").split()):
        _wait_until(lambda pid=pid: _gone(pid), "the end of a killed process")  # type: ignore[misc]


def test_lines_are_handed_on_as_they_come(run: Run, tmp_path: Path) -> None:
    """Two lines in one piece, then a third only once both were seen: nothing is kept back."""
    said: list[str] = []
    seen = tmp_path / "job" / "seen"

    def hear(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            seen.touch()

    code = """
sys.stdout.write("one\\ntwo\\n"); sys.stdout.flush()
while not os.path.exists(folder + "/seen"): time.sleep(0.01)
print("three")
"""
    assert run(code, on_line=hear).code == "ok"
    assert said == ["one", "two", "three"]


def test_half_a_line_does_not_hold_up_the_timeout(run: Run) -> None:
    code = 'sys.stdout.write("half a li"); sys.stdout.flush(); time.sleep(3600)'
    assert run(code, timeout_s=3.0, on_line=lambda line: None).code == "timeout"


@pytest.mark.parametrize("followed", [False, True])
def test_waiting_leaves_the_cpu_to_the_child(run: Run, followed: bool) -> None:
    """The parent sleeps in one system call: over a second it may not use a fifth of them."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    ended = run("time.sleep(1)", on_line=(lambda line: None) if followed else None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    assert ended.code == "ok" and ended.wall_s >= 1
    assert used_s < 0.2 * ended.wall_s


def _ask_to_die_with(parent: str, after: str) -> subprocess.CompletedProcess[str]:
    code = f"import os; from leptonbench.harness.child import die_with_parent; die_with_parent({parent}); {after}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_a_child_whose_parent_has_gone_already_ends_at_once() -> None:
    """Between its start and its request a parent may die: then nobody would ever stop it."""
    orphan = _ask_to_die_with("os.getppid() + 1", "print('went on')")
    assert (orphan.returncode, orphan.stdout) == (1, "")
    assert _ask_to_die_with("os.getppid()", "print('went on')").stdout == "went on\n"


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    child = (
        "import os, ctypes, sys; from leptonbench.harness.child import die_with_parent; "
        "die_with_parent(os.getppid()); print(os.getpid(), flush=True); ctypes.PyDLL(None).sleep(3600)"
    )
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    _wait_until(lambda: _gone(pid), "the end of a child whose parent was killed")


def _cap(setup: str) -> str:
    code = (
        f"import resource; {setup}; from leptonbench.harness.child import limit_memory; limit_memory(1 << 30)\n"
        "import numpy as np\n"
        "try:\n    held = [np.empty(1 << 28, dtype=np.uint8) for _ in range(5)]\n"
        "except MemoryError:\n    print('capped')\n"
        "print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return done.stdout


def test_memory_is_capped_without_touching_it() -> None:
    assert _cap("pass").splitlines() == ["capped", str(1 << 30)]


def test_a_cap_that_is_there_already_stays() -> None:
    hard = 1 << 29
    assert _cap(f"resource.setrlimit(resource.RLIMIT_DATA, ({hard}, {hard}))").splitlines() == ["capped", str(hard)]
