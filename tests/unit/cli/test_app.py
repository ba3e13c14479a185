from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leptonbench import __version__
from leptonbench.cli import app, console, docs
from leptonbench.errors import PrerequisiteError

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ("run", "report", "show", "compare", "list", "project", "export", "doctor")

BLOCK = """
import sys
HEAVY = {"torch", "onnxruntime", "openvino", "transformers", "pandas", "pyarrow", "matplotlib", "numpy", "yaml"}
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise AssertionError(f"imported {name}")
sys.meta_path.insert(0, Hook())
from leptonbench.cli import main
sys.argv = ["leptonbench", *sys.argv[1:]]
main()
"""


def _cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leptonbench", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["fpga", "--help"], ["--version"], ["lsit"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", BLOCK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "imported" not in done.stderr
    assert done.returncode == (2 if arguments == ["lsit"] else 0)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.invoke(["--help"]) == 0
    out, err = capsys.readouterr()
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert err == ""


def test_no_command_shows_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.invoke([]) == 2
    assert "Usage: leptonbench" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.invoke(["--version"]) == 0
    assert capsys.readouterr().out == f"leptonbench {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shwo"], ["error: unknown command `shwo`", "  hint: did you mean `show`?; available: compare, "]),
        (["run", "--rouds", "5"], ["error: unknown option `--rouds`", "  hint: did you mean `--rounds`?"]),
        (["--jsno"], ["error: unknown option `--jsno`", "  hint: "]),
        (["show"], ["error: missing argument", "  hint: see `leptonbench show --help`"]),
        (["run", "--rounds", "2"], ["error: invalid value for '--rounds'", "  hint: see `leptonbench run --help`"]),
        (["run", "--duration", "soon"], ["error: `soon` is not a duration", "  hint: write it like 500ms"]),
        (["run", "--suite", "manufactruing"], ["error: unknown suite `manufactruing`", "`manufacturing`?"]),
        (["run", "--lang", "fr"], ["error: invalid value for '--lang'"]),
        (["list", "suite"], ["error: unknown kind `suite`", "did you mean `suites`?"]),
        (["export", "none", "--format", "cvs"], ["error: unknown export format `cvs`", "did you mean `csv`?"]),
        (["show", "no-such-run"], ["error: there is no run `no-such-run`", "leptonbench list runs"]),
    ],
)
def test_a_usage_error_is_told_in_parts(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: list[str]
) -> None:
    assert app.invoke(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert all(part in err for part in told)


def _broken(error: BaseException) -> None:
    raise error


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr("leptonbench.doctor.diagnose", lambda: _broken(error))


def test_a_defect_is_never_a_verdict(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("by zero\nsecond line"))
    monkeypatch.delenv("LEPTONBENCH_DEBUG", raising=False)
    assert app.invoke(["doctor"]) == 70
    err = capsys.readouterr().err
    assert err.splitlines()[:2] == [
        "error: this is a defect of leptonbench",
        "  Caused by: ZeroDivisionError: by zero",
    ]
    assert "LEPTONBENCH_DEBUG=1" in err
    assert "Traceback" not in err


def test_debugging_shows_tracebacks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTONBENCH_DEBUG", "1")
    _fail_with(monkeypatch, ZeroDivisionError())
    assert app.invoke(["doctor"]) == 70
    assert "Traceback" in capsys.readouterr().err
    assert app.invoke(["show", "nothing"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_prerequisite_has_its_own_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_with(monkeypatch, PrerequisiteError("no compiler", hint="install one"))
    assert app.invoke(["doctor"]) == 4
    assert capsys.readouterr().err == "error: no compiler\n  hint: install one\n"


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, KeyboardInterrupt())
    assert app.invoke(["doctor"]) == 130
    assert "defect" not in capsys.readouterr().err


def test_a_full_disk_is_no_defect(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, OSError(28, "No space left on device", "/data/x"))
    assert app.invoke(["doctor"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: `/data/x` cannot be written\n  Caused by: No space left on device\n"
    )


def test_output_that_cannot_be_delivered_is_an_error() -> None:
    for arguments in (["list", "metrics"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "leptonbench", *arguments]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    for arguments in (["list", "metrics", "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "leptonbench", *arguments]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, "")


def test_any_encoding_will_do() -> None:
    done = _cli("list", "metrics", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "latency_p50" in done.stdout


@pytest.mark.parametrize("kind", ["suites", "workloads", "variants", "backends", "devices", "metrics", "runs"])
def test_list(kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.invoke(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)[kind]
    assert app.invoke(["list", kind]) == 0
    out, err = capsys.readouterr()
    if kind == "runs":
        assert (rows, out, err) == ([], "", "there are no runs\n")
    else:
        assert all(row["name"] in out for row in rows)
        assert rows


def test_doctor_reports_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = app.invoke(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ready"] else 4)
    names = {check["name"] for check in found["checks"]}
    assert {"model", "int8", "bf16", "memory", "results", "cache", "torch", "rapl", "nvidia", "governor"} <= names
    assert all(check["hint"] for check in found["checks"] if check["state"] == "missing")
    assert app.invoke(["doctor"]) == code


def test_the_cli_page_is_current() -> None:
    page = ROOT / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == docs.render(), "run `python -m leptonbench.cli.docs`"


def test_every_command_has_json() -> None:
    page = docs.render()
    for name in (*COMMANDS, "fpga build", "fpga resources", "fpga simulate"):
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert "`--json`" in section


def test_plain_tables_align_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [console.Column("name"), console.Column("value", right=True)]
    console.table(columns, [["延迟", "7"], ["a", "123456"]], title="T")
    assert capsys.readouterr().out == "T\nname   value\n延迟       7\na     123456\n"


def test_a_terminal_gets_a_drawn_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    console.table([console.Column("interval")], [["7.06 ms [7.01, 7.13] n=3"]])
    out = capsys.readouterr().out
    assert "7.06 ms [7.01, 7.13] n=3" in out
    assert "─" in out or "━" in out


def test_a_broken_installation_is_no_finding_of_the_gate(tmp_path: Path) -> None:
    """Exit code 1 is Python's own for an error at import, and the gate's for a regression."""
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')", encoding="utf-8")
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))}
    command = [sys.executable, "-m", "leptonbench", "gate", "--base", "a"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "not installed whole" in done.stderr and "no typer here" in done.stderr and "hint:" in done.stderr
