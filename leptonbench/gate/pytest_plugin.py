"""`pytest --leptonbench`: measure a cell inside a test and hold it to a budget.

The fixture stands on pytest-benchmark: what it measures goes into that plugin's storage, compare table and JSON. It is
loaded by every pytest that finds leptonbench installed, so it imports nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leptonbench.gate.model import Finding
    from leptonbench.schema import CellRecord, Quantity

_ASK = "cells are measured with --leptonbench only"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("leptonbench")
    group.addoption("--leptonbench", action="store_true", help="measure the cells of tests that use `leptonbench`")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that every such test gets, so that `-m leptonbench` selects them."""
    config.addinivalue_line("markers", "leptonbench: measures a cell; runs with --leptonbench")


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Mark the tests that measure, and skip them unless they are asked for."""
    for item in items:
        if "leptonbench" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.leptonbench)
            if not config.getoption("--leptonbench"):
                item.add_marker(pytest.mark.skip(reason=_ASK))


class Replay:
    """A timer that plays back durations that were measured elsewhere, two readings each."""

    __name__ = "leptonbench"

    def __init__(self) -> None:
        self._now = 0.0
        self._left: list[float] = []
        self._running = False

    def load(self, durations_s: Sequence[float]) -> None:
        """Play these next."""
        self._left = list(durations_s)

    def __call__(self) -> float:
        """Return the start of a duration, then its end; without any left, time stands still."""
        if self._running and self._left:
            self._now += self._left.pop(0)
        self._running = not self._running
        return self._now


class Cell:
    """One measured cell, as a test sees it.

    Attributes:
        record: Everything that was measured, with intervals and provenance.
        base: The fp32 cell on the same backend, where one was measured beside it.
        folder: The run that holds both.
    """

    def __init__(self, record: CellRecord, base: CellRecord | None, folder: Path) -> None:
        self.record = record
        self.base = base
        self.folder = folder

    def __getitem__(self, metric: str) -> Quantity:
        """Return a metric by its tag.

        Raises:
            KeyError: If the cell has no such metric.
        """
        return self.record.metrics[metric]

    def check(self, **budgets: str) -> None:
        """Hold the cell to budgets: `check(p99="50ms", quality=">= 0.98 x base")`.

        A breach that the interval leaves open fails too, and says so.

        Raises:
            AssertionError: With every budget that is not met, its figure and its interval.
        """
        __tracebackhide__ = True
        from leptonbench.gate.budgets import judge_budget, parse_budget
        from leptonbench.gate.model import Verdict

        found = []
        for name, text in budgets.items():
            budget = parse_budget(name, text)
            base = self.base.metrics.get(budget.metric) if self.base else None
            found.append(judge_budget(budget, self.record.metrics.get(budget.metric), base))
        if broken := [finding for finding in found if finding.verdict is not Verdict.PASS]:
            raise AssertionError(_words(self, broken))


def _words(cell: Cell, broken: Sequence[Finding]) -> str:
    lines = [f"{cell.record.cell.key} is out of budget"]
    for finding in broken:
        head = finding.head
        span = ""
        if head is not None and head.low is not None and head.high is not None:
            span = f"\n    interval [{head.low:.6g}, {head.high:.6g}] {head.unit}, n={head.n}"
        lines.append(f"  {finding.metric}: {finding.reason}{span}")
    return "\n".join([*lines, f"  the run: {cell.folder}"])


class Leptonbench:
    """What the fixture gives.

    Args:
        folder: Where the run goes.
        benchmark: pytest-benchmark's fixture.
        replay: Its timer.
    """

    def __init__(self, folder: Path, benchmark: Any, replay: Replay) -> None:
        self._folder = folder
        self._benchmark = benchmark
        self._replay = replay

    def measure(
        self,
        workload: str = "inspection",
        *,
        variant: str = "fp32",
        backend: str = "onnxruntime",
        scenario: str = "single-stream",
        suite: str | Path = "manufacturing",
        model: str | Path | None = None,
        data: str | Path | None = None,
        rounds: int | None = None,
        duration_s: float | None = None,
        threads: int | None = None,
        against_fp32: bool = False,
    ) -> Cell:
        """Measure one cell in fresh processes, like `leptonbench run`; once a test.

        Args:
            workload: What is run.
            variant: How it is compressed.
            backend: What runs it.
            scenario: How it is asked.
            suite: Settings of the scenario.
            model: A folder, hub id or ONNX file in place of the workload's own.
            data: Your own data.
            rounds: Fresh processes; by default the suite's.
            duration_s: Length of a timed window in seconds; by default the suite's.
            threads: Of one instance; by default all cores.
            against_fp32: Measure fp32 on the same backend beside it: the base of budgets.

        Raises:
            LeptonError: If it cannot be measured, or its figures do not count.
        """
        from leptonbench.errors import MeasurementError
        from leptonbench.harness.request import RunRequest, Silent
        from leptonbench.harness.run import execute
        from leptonbench.schema import Status

        variants = tuple(dict.fromkeys((variant, "fp32"))) if against_fp32 else (variant,)
        filters = {"workload": (workload,), "variant": variants, "backend": (backend,), "scenario": (scenario,)}
        outcome = execute(
            RunRequest(
                suite=str(suite),
                filters=filters,
                rounds=rounds,
                duration_s=duration_s,
                threads=threads,
                model=str(model) if model else None,
                data=Path(data) if data else None,
                out=self._folder / "run",
            ),
            Silent(),
        )
        by_variant = {record.cell.variant: record for record in outcome.records}
        record = by_variant[variant]
        if record.status is not Status.OK:
            reason = record.reason
            raise MeasurementError(
                f"cell {record.cell.key} is {record.status.value}",
                cause=reason.message if reason else "",
                hint=reason.hint if reason else "",
            )
        self._hand_over(record)
        base = by_variant.get("fp32") if variant != "fp32" else record
        return Cell(record, base if against_fp32 else None, outcome.path)

    def _hand_over(self, record: CellRecord) -> None:
        """Give pytest-benchmark a round of its own for each of ours: the median latency, or the time of one sample."""
        from leptonbench.exports.headline import headline

        tag = headline(record)
        values = [one.values[tag] for one in record.rounds if one.values.get(tag, 0.0) > 0.0]
        self._replay.load(values if tag == "latency_p50" else [1.0 / value for value in values])
        figures = {
            name: quantity.model_dump(mode="json", exclude_none=True) for name, quantity in record.metrics.items()
        }
        self._benchmark.extra_info["leptonbench"] = figures
        self._benchmark.group = self._benchmark.group or record.cell.workload
        self._benchmark.pedantic(_nothing, rounds=max(1, len(values)), iterations=1)


def _nothing() -> None:
    """Take no time: what is timed was timed elsewhere."""


@pytest.fixture
def leptonbench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Leptonbench]:
    """Measure a cell: `cell = leptonbench.measure("inspection", variant="int8-static")`, then `cell.check(...)`."""
    replay = Replay()
    request.node.add_marker(pytest.mark.benchmark(timer=replay))
    try:
        benchmark: Any = request.getfixturevalue("benchmark")
    except pytest.FixtureLookupError:
        pytest.fail("the fixture `leptonbench` stands on pytest-benchmark: pip install pytest-benchmark", pytrace=False)
    yield Leptonbench(tmp_path, benchmark, replay)
