"""What the records say to someone who has to choose. Pure: records in, answers out, no language."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from leptonbench.report.numbers import Ratio, clearly_better, lower_is_better, ratio
from leptonbench.schema import CellRecord, Quantity, Scenario, Status


class Question(StrEnum):
    """What a buyer asks."""

    FASTEST = "fastest"
    CHEAPEST = "cheapest"
    FRUGAL = "frugal"


class Rule(NamedTuple):
    """How one question is answered: by which metric, in which scenario first, among which cells."""

    question: Question
    metric: str
    scenarios: tuple[Scenario, ...]
    needs_target: bool


_SINGLE, _MULTI, _SERVER, _OFFLINE = (
    Scenario.SINGLE_STREAM,
    Scenario.MULTI_STREAM,
    Scenario.SERVER,
    Scenario.OFFLINE,
)
ENERGY, WALL_ENERGY = "energy_per_inference", "wall_energy_per_inference"
RENTED, OWNED = "cost_per_million", "owned_cost_per_million"
RULES = (
    Rule(Question.FASTEST, "latency_p50", (_SINGLE, _MULTI, _SERVER, _OFFLINE), needs_target=False),
    Rule(Question.CHEAPEST, RENTED, (_SERVER, _SINGLE, _MULTI, _OFFLINE), needs_target=True),
    Rule(Question.FRUGAL, ENERGY, (_SINGLE, _SERVER, _MULTI, _OFFLINE), needs_target=False),
)


class Answer(NamedTuple):
    """The answer to one question for one workload.

    Attributes:
        best: The cell with the best value, or `None` where no cell qualifies.
        tied: Cells whose intervals overlap with the best one's: not distinguishable from it.
        next_clear: The best of those that are clearly worse.
        times: How many times as much `next_clear` takes.
        candidates: How many cells have the metric at all in this scenario.
        rejected_quality: Of those, how many miss the quality floor or have no verdict on it.
        rejected_target: Of those accurate enough, how many miss the latency target.
    """

    rule: Rule
    workload: str
    scenario: Scenario | None
    best: CellRecord | None
    tied: tuple[CellRecord, ...] = ()
    next_clear: CellRecord | None = None
    times: Ratio | None = None
    candidates: int = 0
    rejected_quality: int = 0
    rejected_target: int = 0


def metric_of(record: CellRecord, tag: str) -> Quantity | None:
    """Return a metric that has a value, else `None`."""
    quantity = record.metrics.get(tag)
    return quantity if quantity is not None and quantity.value is not None else None


def comparable(tag: str, records: Sequence[CellRecord]) -> str:
    """Return the metric by which cells of several devices are compared.

    Joules of several boundaries are compared at the wall (runs from before there were such have one boundary each), and
    dollars of machines of which some cannot be rented by what they cost their owner.
    """
    if tag == RENTED and any(metric_of(record, OWNED) and not metric_of(record, RENTED) for record in records):
        return OWNED
    if tag == ENERGY and any(metric_of(record, WALL_ENERGY) for record in records):
        boundaries = {found.boundary for record in records if (found := metric_of(record, ENERGY)) is not None}
        return WALL_ENERGY if len(boundaries) > 1 else tag
    return tag


def _worth(record: CellRecord, tag: str) -> float:
    value = record.metrics[tag].value or 0.0
    return value if lower_is_better(tag) else -value


def answer(rule: Rule, workload: str, records: Sequence[CellRecord]) -> Answer:
    """Answer one question for one workload, in the first scenario of the rule that has a qualifying cell.

    Only cells with status `ok` are considered: an invalid measurement is shown, never recommended.
    """
    rule = _like_with_like(rule, workload, records)
    fallback: Answer | None = None
    for scenario in rule.scenarios:
        pool = [
            record
            for record in records
            if record.cell.workload == workload
            and record.cell.scenario is scenario
            and record.status is Status.OK
            and metric_of(record, rule.metric) is not None
        ]
        found = _rank(rule, workload, scenario, pool)
        if found.best is not None:
            return found
        if pool and fallback is None:
            fallback = found
    return fallback or Answer(rule, workload, None, None)


def _like_with_like(rule: Rule, workload: str, records: Sequence[CellRecord]) -> Rule:
    """Return a rule by a metric that all of the workload's cells can have."""
    mine = [record for record in records if record.cell.workload == workload and record.status is Status.OK]
    return rule._replace(metric=comparable(rule.metric, mine))


def _rank(rule: Rule, workload: str, scenario: Scenario, pool: list[CellRecord]) -> Answer:
    accurate = [record for record in pool if record.meets_quality]
    judged = rule.needs_target and scenario is not _OFFLINE  # a batch that is worked off has no latency
    good = [record for record in accurate if record.meets_target] if judged else accurate
    nothing = Answer(
        rule,
        workload,
        scenario,
        None,
        candidates=len(pool),
        rejected_quality=len(pool) - len(accurate),
        rejected_target=len(accurate) - len(good),
    )
    if not good:
        return nothing
    tag = rule.metric
    best, *others = sorted(good, key=lambda record: (_worth(record, tag), record.cell.key))
    clear = [record for record in others if clearly_better(tag, best.metrics[tag], record.metrics[tag])]
    behind = {record.cell.key for record in clear}
    tied = tuple(record for record in others if record.cell.key not in behind)
    times = ratio(clear[0].metrics[tag], best.metrics[tag]) if clear else None
    return nothing._replace(best=best, tied=tied, next_clear=clear[0] if clear else None, times=times)


class ReasonGroup(NamedTuple):
    """Cells that are not there for one and the same reason."""

    status: Status
    code: str
    message: str
    hint: str
    records: tuple[CellRecord, ...]


def absent_cells(records: Sequence[CellRecord]) -> list[ReasonGroup]:
    """Group failed, invalid and skipped cells by status and reason, failures first."""
    order = (Status.FAILED, Status.INVALID, Status.SKIPPED)
    groups: dict[tuple[Status, str, str, str], list[CellRecord]] = {}
    for record in sorted((r for r in records if r.status in order), key=lambda record: order.index(record.status)):
        reason = record.reason
        texts = (reason.code, reason.message, reason.hint) if reason else ("", "", "")
        groups.setdefault((record.status, *texts), []).append(record)
    return [ReasonGroup(*key, tuple(group)) for key, group in groups.items()]
