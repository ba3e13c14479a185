"""What the repository says of itself is true: commands exist, links lead somewhere, one version, no one's own paths."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from leptonbench import __version__
from leptonbench.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results" / "README.md"])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_OWN_PATH = re.compile(rb"(?<![\w.~}$])/(?:home|root|Users|work|mnt)/[A-Za-z0-9]")


def commands(page: Path) -> list[str]:
    """Return the command lines in a page's console blocks, without prompt and comment."""
    blocks = [text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind in ("console", "sh")]
    lines = [line.removeprefix("$ ").strip() for text in blocks for line in text.replace("\\\n", " ").splitlines()]
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def mentioned(page: Path) -> list[str]:
    """Return the commands of leptonbench in a page's console blocks."""
    return [line for line in commands(page) if line.startswith("leptonbench ")]


def check_command(line: str) -> None:
    """Parse one command line as the application would, without its types: files need not be there."""
    group: Any = typer.main.get_command(app)
    name, *rest = shlex.split(line)[1:]
    if name.startswith("-"):
        return
    assert name in group.commands, f"`{line}`: there is no command `{name}`"
    if hasattr(group.commands[name], "commands"):  # a group inside: `leptonbench fpga simulate`
        group, (name, *rest) = group.commands[name], rest
        assert name in group.commands, f"`{line}`: there is no command `{name}`"
    command = group.commands[name]
    context = command.context_class(command, info_name=name, parent=group.context_class(group, info_name="leptonbench"))
    _, left, _ = command.make_parser(context).parse_args(args=list(rest))
    assert not left, f"`{line}`: {left} is too much"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Path) -> None:
    for line in mentioned(page):
        check_command(line)


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--sutie"):
        check_command("leptonbench run --sutie manufacturing")


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {line.split()[1] for line in commands(page) if line.startswith("make ")}
    assert used
    assert used <= targets


def test_both_readmes_show_the_same() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    assert commands(english) == commands(chinese)
    texts = [page.read_text(encoding="utf-8") for page in (english, chinese)]
    assert len({len(re.findall(r"^#", text, re.MULTILINE)) for text in texts}) == 1
    assert len({len(re.findall(r"^- ", text, re.MULTILINE)) for text in texts}) == 1
    docs = [{link for link in _LINK.findall(text) if not link.startswith("README")} for text in texts]
    assert docs[0] == docs[1]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "leptonbench/_version.py"
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == __version__


def test_every_room_keeps_engines_out_but_those_that_are_for_them() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = [one for one in contracts if one["name"].startswith("engines")]
    package = ROOT / "leptonbench"
    found = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    rooms = found - {"__init__", "_version", "backends", "compression", "fpga", "tasks"}
    assert set(contract["source_modules"]) == {f"leptonbench.{room}" for room in rooms}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=;\[ ]", want)[0]).lower() for want in wanted}
    assert names <= pinned


def tracked() -> list[Path]:
    """Return the files under version control."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout")
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_nobodys_own_paths() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        if path.suffix not in (".png", ".safetensors", ".npy", ".onnx") and path != Path(__file__).resolve()
        for match in [_OWN_PATH.search(path.read_bytes())]
        if match
    ]
    assert found == []
