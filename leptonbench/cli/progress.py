"""How a run tells its progress on stderr: a live line on a terminal, one line a round elsewhere.

Neither has a thread of its own: the screen changes when the harness tells something, which it never does while a round
is timed.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from leptonbench.cli import console
from leptonbench.cli.wording import CellNames, counted, duration
from leptonbench.harness.request import Plan, Progress
from leptonbench.schema import CellSpec, Notice

if TYPE_CHECKING:
    from rich.console import Group

_RUNNING = "running"


class RunProgress(Progress, Protocol):
    """Progress that holds the screen until it is left."""

    def __enter__(self) -> Self:
        """Take the screen."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the screen back."""


def make_progress() -> RunProgress:
    """Return live progress if stderr is a terminal, else lines."""
    return LiveProgress() if console.is_terminal(sys.stderr) else LineProgress()


def plan_line(plan: Plan) -> str:
    """Word a plan in one line."""
    skipped = f", {len(plan.skipped)} skipped" if plan.skipped else ""
    rounds = f"{plan.rounds} rounds of {plan.duration_s:g} s"
    return f"{counted(len(plan.cells), 'cell')}{skipped}; {rounds} each; about {duration(plan.estimate_s)}"


def notice_lines(notice: Notice) -> str:
    """Word a notice with its remedy."""
    return f"warning ({notice.code}): {notice.message}" + (f"\n  hint: {notice.hint}" if notice.hint else "")


class LineProgress:
    """One line for each thing that ends; for logs and pipes."""

    def __init__(self) -> None:
        self._names = CellNames(())
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def plan(self, plan: Plan) -> None:
        """Print the plan."""
        self._names = CellNames(plan.cells)
        console.say(plan_line(plan))

    def phase(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Print a phase once, and not again for each of its steps."""
        if text != self._phase:
            self._phase = text
            console.say(f"{text} ({total})" if total > 1 else text)

    def round(self, cell: CellSpec, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> None:
        """Print how a round ended."""
        if status != _RUNNING:
            console.say(round_line(self._names(cell), done, total, status=status, detail=detail, eta_s=eta_s))

    def notice(self, notice: Notice) -> None:
        """Print a notice."""
        console.say(notice_lines(notice))


def round_line(name: str, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> str:
    """Word how a round ended: `[ 7/36] fp32 · torch · offline: ok, 31.2 ms; 2 min left`."""
    text = f"[{done:>{len(str(total))}}/{total}] {name}: {status}"
    if detail:
        text += f", {detail}"
    return f"{text}; {duration(eta_s)} left" if eta_s is not None and done < total else text


class LiveProgress:
    """A bar with the phase, the present cell, done of total and time left; trouble is printed above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=sys.stderr, highlight=False, emoji=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._names = CellNames(())

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def plan(self, plan: Plan) -> None:
        """Print the plan above the bar."""
        self._names = CellNames(plan.cells)
        self._console.print(plan_line(plan))

    def phase(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Draw a phase and how far it is."""
        self._live.update(_bar(text, done, total, detail="", eta_s=None), refresh=True)

    def round(self, cell: CellSpec, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> None:
        """Draw the bar before a round and after it; print a round that did not go well."""
        if status not in (_RUNNING, "ok"):
            line = round_line(self._names(cell), done, total, status=status, detail=detail, eta_s=None)
            self._console.print(line)
        shown = f"{status}, {detail}" if detail else status
        name = self._names(cell)
        self._live.update(_bar("measuring", done, total, detail=f"{name}: {shown}", eta_s=eta_s), refresh=True)

    def notice(self, notice: Notice) -> None:
        """Print a notice above the bar."""
        self._console.print(notice_lines(notice))


def _bar(phase: str, done: int, total: int, *, detail: str, eta_s: float | None) -> Group:
    from rich.console import Group, RenderableType
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(phase)]
    if total:
        cells += [ProgressBar(total=total, completed=done, width=30), Text(f"{done}/{total}")]
    if eta_s is not None:
        cells.append(Text(f"{duration(eta_s)} left"))
    line.add_row(*cells)
    return Group(line, Text(detail, overflow="ellipsis", no_wrap=True))
