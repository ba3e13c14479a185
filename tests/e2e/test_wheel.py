"""The wheel works away from the checkout: its data travels inside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


class Installed(NamedTuple):
    """A virtual environment with the wheel in it, and an empty folder to run from."""

    wheel: Path
    python: Path
    folder: Path

    def run(self, *arguments: str) -> str:
        """Run Python in the empty folder, without a trace of the checkout, and return its stdout."""
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment["LEPTONBENCH_CACHE"] = str(self.folder / "cache")
        command = [str(self.python), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel and install it alone; its dependencies are borrowed from the present environment."""
    base = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(base / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = (base / "dist").glob("*.whl")
    venv.create(base / "venv", with_pip=False)
    python = base / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=120)
    (site,) = (base / "venv").glob("lib/python*/site-packages")
    # A path that a .pth file adds is searched last and its own .pth files are not read: the checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    folder = base / "elsewhere"
    folder.mkdir()
    return Installed(wheel, python, folder)


def test_the_wheel_holds_every_data_file_and_no_script_that_made_them(installed: Installed) -> None:
    inside = {name for name in zipfile.ZipFile(installed.wheel).namelist() if name.startswith("leptonbench/_data/")}
    kept = {
        f"leptonbench/_data/{path.relative_to(ROOT).as_posix()}"
        for folder in ("workloads", "hardware_profiles", "reports")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert inside == kept


def test_the_package_is_the_wheels(installed: Installed) -> None:
    code = "import leptonbench, leptonbench.paths as p; print(leptonbench.__file__); print(p.data_root())"
    file, data = installed.run("-c", code).splitlines()
    assert Path(file).is_relative_to(installed.python.parents[1])
    assert Path(data) == Path(file).parent / "_data"


def test_it_lists_and_plans_from_an_empty_folder(installed: Installed) -> None:
    listed = installed.run("-m", "leptonbench", "list", "suites")
    assert "manufacturing" in listed
    planned = json.loads(
        installed.run("-m", "leptonbench", "run", "--suite", "manufacturing", "--dry-run", "--json", "--lang", "zh")
    )
    assert planned["cells"]
    assert list(installed.folder.iterdir()) == []


def test_the_script_is_installed(installed: Installed) -> None:
    script = installed.python.with_name("leptonbench")
    done = subprocess.run([str(script), "--version"], cwd=installed.folder, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("leptonbench ")
