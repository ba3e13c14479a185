"""The only place that prints: data on stdout, all that is said to the user on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from leptonbench.errors import LeptonError, StorageError


class Column(NamedTuple):
    """A table's column; numbers stand to the right."""

    title: str
    right: bool = False


def prepare() -> None:
    """Let both streams replace what their encoding lacks, rather than fail on it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person watches; `FORCE_COLOR` and its kin deliberately do not count."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def out(text: str = "") -> None:
    """Print data."""
    with _guarded(sys.stdout):
        print(text, file=sys.stdout)


def say(text: str = "") -> None:
    """Tell the user something that is not data."""
    with _guarded(sys.stderr):
        print(text, file=sys.stderr, flush=True)


def document(content: Mapping[str, Any]) -> None:
    """Print one JSON document as data."""
    out(json.dumps(content, indent=2, ensure_ascii=False))


def failure(error: LeptonError) -> None:
    """Tell an error in its three parts, with its traceback only under `LEPTONBENCH_DEBUG=1`."""
    if debugging():
        say("".join(traceback.format_exception(error)).rstrip())
    say(f"error: {error}")


def defect(error: BaseException) -> None:
    """Tell an error that no user can be blamed for."""
    if debugging():
        say("".join(traceback.format_exception(error)).rstrip())
    hint = (
        "please report it with the traceback above" if debugging() else "`LEPTONBENCH_DEBUG=1` shows where; report it"
    )
    first_line = (str(error).splitlines() or [""])[0]
    say(
        str(
            LeptonError(
                "error: this is a defect of leptonbench", cause=f"{type(error).__name__}: {first_line}", hint=hint
            )
        )
    )


def debugging() -> bool:
    """Tell whether the user asked for tracebacks."""
    return os.environ.get("LEPTONBENCH_DEBUG", "") not in ("", "0")


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print rows as data: drawn on a terminal, aligned by spaces elsewhere."""
    if is_terminal(sys.stdout):
        _drawn_table(columns, rows, title)
        return
    from rich.cells import cell_len

    if title:
        out(title)
    lines = [[column.title for column in columns], *rows]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = []
        for column, width, text in zip(columns, widths, line, strict=True):
            space = " " * (width - cell_len(text))
            cells.append(space + text if column.right else text + space)
        out("  ".join(cells).rstrip())


def _drawn_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title, style="bold") if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        drawn.add_column(Text(column.title), justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    with _guarded(sys.stdout):
        Console(file=sys.stdout, highlight=False, emoji=False).print(drawn)


def finish(code: int) -> int:
    """Flush both streams and return the exit code, which is the storage error's if the data could not be delivered."""
    try:
        with _guarded(sys.stdout):
            sys.stdout.flush()
    except StorageError as error:
        failure(error)
        return code or error.exit_code
    finally:
        with _guarded(sys.stderr):
            sys.stderr.flush()
    return code


@contextlib.contextmanager
def _guarded(stream: TextIO) -> Iterator[None]:
    """Go on silently when the reader has gone (`| head`): the command's own exit code still counts."""
    try:
        yield
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        if stream is sys.stdout:
            raise StorageError("standard output cannot be written", cause=error.strerror or str(error)) from error


def _silence(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
