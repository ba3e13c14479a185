"""docs/validation.md, made from what the benchmarks found last.

    python -m benchmarks.validation_page           # every section whose benchmark has results here
    python -m benchmarks.validation_page NAME ..   # those alone

A benchmark writes `results/benchmarks/<name>.json`, a section is a function from that document to Markdown, and the
page keeps each between marks of its name. A section without results here stays as it is: another machine wrote it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import capacity_page, validation_sections
from benchmarks.common import RESULTS, ROOT
from leptonbench.atomic import write_atomically

PAGE = ROOT / "docs" / "validation.md"
_TITLE = "# Validation\n\nWhat models say, held against what is known. Each section is written by its benchmark.\n"
Section = Callable[[dict[str, Any]], str]

SECTIONS: dict[str, Section] = {
    "capacity_validation": capacity_page.compose,
    "projection_backtest": validation_sections.projection,
    "cpu_power_model": validation_sections.cpu_power,
}
"""By the benchmark's name, in the order of the page."""


def main() -> None:
    """Write the page and say which sections are new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(SECTIONS)}")
    names = parser.parse_args().names or list(SECTIONS)
    if wrong := [name for name in names if name not in SECTIONS]:
        parser.error(f"no section is called {', '.join(wrong)}")
    written = write(names)
    for name in names:
        print(f"{name}: {'written' if name in written else f'no {RESULTS / name}.json, left as it is'}")


def write(names: Iterable[str], page: Path = PAGE, results: Path = RESULTS) -> list[str]:
    """Write the sections that have results, and return their names.

    Args:
        names: Of benchmarks.
        page: To write.
        results: The folder of the benchmarks' documents.
    """
    found = {name: results / f"{name}.json" for name in names}
    documents = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items() if path.exists()}
    old = page.read_text(encoding="utf-8") if page.exists() else _TITLE
    text = assemble(old, {name: SECTIONS[name](document) for name, document in documents.items()})
    if text != old:
        write_atomically(page, text.encode())
    return list(documents)


def assemble(text: str, sections: Mapping[str, str]) -> str:
    """Return a page with each section in place of the one between its marks, or at the end."""
    for name, section in sections.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        marked = f"{begin}\n{section}{end}"
        before, mark, rest = text.partition(begin)
        if not mark:
            text = f"{text.rstrip()}\n\n{marked}\n"
            continue
        _, closed, after = rest.partition(end)
        if not closed:
            raise ValueError(f"the section `{name}` of the page has no end")
        text = f"{before}{marked}{after}"
    return text


if __name__ == "__main__":
    main()
