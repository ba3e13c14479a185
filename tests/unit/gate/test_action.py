"""The GitHub action as far as it goes without the service: its own script, with the service's variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ACTION = Path(__file__).resolve().parents[3] / "action.yml"


def _step(name: str) -> dict[str, Any]:
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    (step,) = [step for step in action["runs"]["steps"] if step["name"] == name]
    return dict(step)


def _run(folder: Path, *, code: int, reason: str = "", **environment: str) -> tuple[int, list[str], dict[str, str]]:
    """Run the gate's step over a stand-in that keeps its arguments, leaves a result and exits as told."""
    result = {"verdict": "inconclusive", "cells": [{"findings": [{"reason": reason}]}]}
    (folder / "bin").mkdir()
    stub = folder / "bin" / "leptonbench"
    stub.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"pathlib.Path('arguments').write_text(json.dumps(sys.argv[1:]))\n"
        f"out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\nout.mkdir()\n"
        f"(out / 'gate.json').write_text({json.dumps(json.dumps(result))})\nsys.exit({code})\n",
        encoding="utf-8",
    )
    stub.chmod(0o755)
    defaults = {"BASE": "main", "HEAD_SIDE": "HEAD", "ARGUMENTS": "--workload inspection", "MODE": "whole"}
    path = os.pathsep.join((str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", _step("Gate")["run"]],
        cwd=folder,
        env={**defaults, "FIRST_PASS": "", "OUT": "out", "PATH": path, "GITHUB_OUTPUT": "outputs", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    file = folder / "outputs"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    given = folder / "arguments"
    arguments = json.loads(given.read_text(encoding="utf-8")) if given.exists() else []
    return done.returncode, arguments, dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 70])
def test_the_whole_gate_exits_as_the_command_does(tmp_path: Path, code: int) -> None:
    found, arguments, outputs = _run(tmp_path, code=code)
    assert found == code
    assert arguments == ["gate", "--base", "main", "--head", "HEAD", "--out", "out", "--workload", "inspection"]
    assert outputs == {"verdict": "inconclusive", "suspected": "false"}


def test_a_first_pass_leaves_its_suspicion_to_another_runner(tmp_path: Path) -> None:
    code, arguments, outputs = _run(tmp_path, code=3, reason="+9.1% in the first pass, not confirmed yet", MODE="first")
    assert code == 0 and "--defer" in arguments
    assert outputs["suspected"] == "true"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 70])
def test_a_first_pass_that_fails_or_cannot_tell_still_fails(tmp_path: Path, code: int) -> None:
    assert _run(tmp_path, code=code, MODE="first")[0] == code


def test_the_confirmation_is_given_the_first_pass(tmp_path: Path) -> None:
    code, arguments, _ = _run(tmp_path, code=1, MODE="confirm", FIRST_PASS="first/gate.json")
    assert code == 1
    assert arguments[arguments.index("--confirm") + 1] == "first/gate.json"


def test_an_unknown_mode_is_told(tmp_path: Path) -> None:
    assert _run(tmp_path, code=0, MODE="twice") == (2, [], {})


def test_every_value_reaches_the_script_through_the_environment() -> None:
    """What a pull request may choose must not become part of a script."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
    assert set(_step("Gate")["env"]) == {"BASE", "HEAD_SIDE", "ARGUMENTS", "MODE", "FIRST_PASS", "OUT"}
