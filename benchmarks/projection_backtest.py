"""How wrong are projections? Every published result, projected as if it were not there.

    python -m benchmarks.projection_backtest                 # hold the stored constants against the table
    python -m benchmarks.projection_backtest --write         # write their errors anew
    python -m benchmarks.projection_backtest --fit --write   # fit them anew, too

The constants are fitted by likelihood and never by these errors; the nested back-test fits them again without the chips
that it then projects, so that no result helps to project itself. The headline is of devices that published three other
models or more, projected in throughput with all accuracy targets and scenarios of the asked model hidden on them.
"""

from __future__ import annotations

import argparse
import datetime
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import yaml

from benchmarks.common import ROOT, Outcome, tell
from leptonbench.atomic import write_atomically
from leptonbench.projection.anchors import Kin, Own, Table, support
from leptonbench.projection.backtest import (
    PROTOCOLS,
    BackTest,
    Check,
    Claim,
    Trial,
    claims,
    leave_out,
    measured_elsewhere,
    pairs,
    ratio_trials,
    supported,
)
from leptonbench.projection.fit import START, fit
from leptonbench.projection.model import predict
from leptonbench.projection.results import Submission, typical
from leptonbench.projector.published import (
    BACK_TEST,
    accelerators,
    published_observations,
    published_submissions,
    table_of,
)

GOAL_PERCENT = 11.0
HEADLINE = "one model on a device"
RELATED = (Kin.CHIP, Kin.ARCHITECTURE)
_FOLDS = 5
PAGE = ROOT / "docs" / "projection.md"
BEGIN, END = "<!-- back-test: begin -->", "<!-- back-test: end -->"
_STORED = ROOT / "hardware_profiles" / "published" / BACK_TEST


def main() -> None:
    """Compute, tell, and with `--write` keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the constants; wants --write")
    parser.add_argument("--write", action="store_true", help="write the constants' errors, and the page")
    parser.add_argument("--quick", action="store_true", help="leave out the nested back-test, which fits five times")
    chosen = parser.parse_args()
    observations = published_observations()
    if chosen.fit and not chosen.write:
        parser.error("--fit wants --write: constants come with their errors")
    start = table_of(observations, START)
    table = table_of(observations, fit(start) if chosen.fit else read_stored().constants)
    trials = {name: leave_out(table, hide) for name, hide in PROTOCOLS.items()}
    checks = headline(trials[HEADLINE])
    if not chosen.quick:
        checks += headline(nested(table), prefix="constants fitted without the projected chips: ", goal=None)
    checks += [*single_anchors(table), *ratios(table), *forward(table), *submitters(table)]
    if chosen.write:
        keep(table, checks)
    tell(
        "projection_backtest",
        [*checks, *by_support(trials)],
        constants=table.variances._asdict(),
        claims=[one.model_dump() for one in claims(all_of(trials))],
    )


def read_stored() -> BackTest:
    """Return what was written last."""
    return BackTest.model_validate(yaml.safe_load(_STORED.read_text(encoding="utf-8")))


def keep(table: Table, checks: Sequence[Outcome]) -> None:
    """Write a table's constants with the errors under them, and the page that shows them."""
    trials = [trial for hide in PROTOCOLS.values() for trial in leave_out(table, hide)]
    found = BackTest(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        observations=len(table.observations),
        variances={name: round(value, 6) for name, value in table.variances._asdict().items()},
        claims=tuple(claims(trials)),
        pairs=tuple(claims(pairs(table))),
        cells=tuple(claims(measured_elsewhere(table_of(published_observations(cpus=True), table.variances)))),
        checks=tuple(map(_check, checks)),
    )
    write_page(found)
    head = (
        "# Written by `python -m benchmarks.projection_backtest --fit --write`; docs/projection.md says what each is.\n"
    )
    text = head + yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False, width=120)
    write_atomically(_STORED, text.encode())


def _check(one: Outcome) -> Check:
    low, high = (round(end or 0.0, 1) for end in (one.low, one.high))
    return Check(name=one.name, mean_abs_error_percent=round(one.value, 1), low=low, high=high, n=one.n)


def page_section(found: BackTest) -> str:
    """Return the tables that docs/projection.md shows."""
    lines = [f"Of {found.observations} results (device, benchmark and scenario); fitted {found.date}.", ""]
    lines += ["| mean absolute error | | 95 % interval | n |", "|---|---|---|---|"]
    lines += [f"| {c.name} | {c.mean_abs_error_percent} % | {c.low} to {c.high} % | {c.n} |" for c in found.checks]
    lines += [""]
    for title, some in (
        ("From all published results", found.claims),
        ("From one other device (`--from`)", found.pairs),
        ("A model measured on one device alone (`--run`)", found.cells),
    ):
        lines += [
            f"**{title}**",
            "",
            "| judged by | own results | nearest relative | n | mean | median | bias | 90 % within |",
        ]
        lines += ["|---|---|---|---|---|---|---|---|", *map(_page_row, some), ""]
    lines += ["**Fitted constants**", "", "| constant | value |", "|---|---|"]
    lines += [f"| `{name}` | {value:.4g} |" for name, value in found.variances.items()]
    return "\n".join(lines) + "\n"


def _page_row(one: Claim) -> str:
    kind = "latency" if one.by_latency else "throughput"
    errors = f"{one.mean_abs_error:.1%} | {one.median_abs_error:.1%} | {one.bias:+.1%}"
    return f"| {kind} | {one.own} | {one.kin or 'any'} | {one.n} | {errors} | x/÷ {one.factor:.2f} |"


def write_page(found: BackTest) -> None:
    """Put the tables between their marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    write_atomically(PAGE, f"{head}{BEGIN}\n{page_section(found)}{END}{tail}".encode())


def all_of(trials: dict[str, list[Trial]]) -> list[Trial]:
    """Return the trials of every protocol."""
    return [trial for some in trials.values() for trial in some]


def outcome(name: str, trials: Sequence[Trial], *, goal: float | None = None) -> list[Outcome]:
    """Return the mean absolute error of some trials, with a bootstrap over devices."""
    if not trials:
        return []
    by_device: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        by_device[trial.device].append(abs(trial.error))
    groups = [np.array(errors) for errors in by_device.values()]
    random = np.random.default_rng(0)
    means = [
        np.concatenate([groups[index] for index in random.integers(len(groups), size=len(groups))]).mean()
        for _ in range(2000)
    ]
    low, high = (100 * float(value) for value in np.quantile(means, (0.025, 0.975)))
    value = 100 * float(np.mean([abs(trial.error) for trial in trials]))
    return [Outcome(name, value, "%", goal, low, high, len(trials))]


def headline(trials: Sequence[Trial], *, prefix: str = "", goal: float | None = GOAL_PERCENT) -> list[Outcome]:
    """Return the error for devices with three other published models or more, by kin."""
    several = [one for one in trials if one.support.own is Own.SEVERAL and not one.support.by_latency]
    related = [one for one in several if one.support.kin in RELATED]
    return [
        *outcome(f"{prefix}throughput, relatives of its chip or architecture", related, goal=goal),
        *outcome(f"{prefix}throughput, any relatives", several),
    ]


def by_support(trials: dict[str, list[Trial]]) -> list[Outcome]:
    """Return the errors by what the projections stood on."""
    return [_of_claim(one) for one in claims(all_of(trials))]


def _of_claim(claim: Claim) -> Outcome:
    kind = "latency" if claim.by_latency else "throughput"
    return Outcome(f"{kind}: {claim.own}; {claim.kin or 'any kin'}", 100 * claim.mean_abs_error, "%", n=claim.n)


def nested(table: Table) -> list[Trial]:
    """Project each fold of chips under constants fitted to the other folds."""
    chips = sorted({(one.traits.vendor, one.traits.chip) for one in table.points})
    order = np.random.default_rng(0).permutation(len(chips))
    found = []
    for fold in range(_FOLDS):
        hidden = {chips[index] for index in order[fold::_FOLDS]}
        rest = [
            one
            for one, point in zip(table.observations, table.points, strict=True)
            if (point.traits.vendor, point.traits.chip) not in hidden
        ]
        constants = fit(Table(tuple(rest), table.traits, START))
        whole = Table(table.observations, table.traits, constants)
        mine = {name for name, traits in table.traits.items() if (traits.vendor, traits.chip) in hidden}
        found += [one for one in leave_out(whole, PROTOCOLS[HEADLINE]) if one.device in mine]
    return found


def single_anchors(table: Table) -> list[Outcome]:
    """Return the errors of projections from one other device."""
    found = [one for one in pairs(table) if not one.support.by_latency and one.support.own is Own.SEVERAL]
    related = [one for one in found if one.support.kin in RELATED]
    return [
        *outcome("one anchor, all ordered pairs, throughput", found),
        *outcome("one anchor of its chip or architecture, throughput", related),
    ]


def ratios(table: Table) -> list[Outcome]:
    """Return the errors of ratios of published figures, over the same table."""
    found = []
    for method in ("peak", "bandwidth", "root of both"):
        throughput = [one for one in ratio_trials(table, method) if not one.support.by_latency]
        related = [one for one in throughput if one.support.kin in RELATED]
        found += outcome(f"ratio of {method}, all ordered pairs, throughput", throughput)
        found += outcome(f"ratio of {method}, one of its chip or architecture, throughput", related)
    return found


def forward(table: Table) -> list[Outcome]:
    """Project each round's new results from the rounds before it: what a buyer of that time would have been told."""
    submissions = [one for one in published_submissions() if one.device in accelerators()]
    rounds = sorted({one.round for one in submissions})
    trials: list[Trial] = []
    for now in rounds[1:]:
        trials += _unseen(table, [s for s in submissions if s.round < now], [s for s in submissions if s.round == now])
    return _split("earlier rounds only", trials)


def submitters(table: Table) -> list[Outcome]:
    """Project what one submitter alone published from what all others did."""
    submissions = [one for one in published_submissions() if one.device in accelerators()]
    trials: list[Trial] = []
    for name in sorted({one.submitter for one in submissions}):
        trials += _unseen(
            table, [s for s in submissions if s.submitter != name], [s for s in submissions if s.submitter == name]
        )
    return _split("other submitters only", trials)


def _unseen(table: Table, known: Sequence[Submission], asked: Sequence[Submission]) -> list[Trial]:
    """Project the device and column of each asked result that the known ones lack."""
    past = Table(tuple(typical(known)), table.traits, table.variances)
    seen = {(one.device, one.column) for one in past.observations}
    columns = {one.column for one in past.observations}
    fresh = [one for one in typical(asked) if (one.device, one.column) not in seen and one.column in columns]
    points = [table.point(one.device, one.column) for one in fresh]
    stands = [support(point, past.points) for point in points]
    chosen = [i for i, point in enumerate(points) if supported(point, stands[i], past.points)]
    if not chosen:
        return []
    found = predict(past.points, past.log_rates, [points[i] for i in chosen], past.variances)
    return [
        Trial(
            fresh[i].device,
            fresh[i].column.benchmark,
            fresh[i].column.scenario.value,
            stands[i],
            prediction.mean - fresh[i].log_rate,
        )
        for i, prediction in zip(chosen, found, strict=True)
    ]


def _split(name: str, trials: Sequence[Trial]) -> list[Outcome]:
    throughput = [one for one in trials if not one.support.by_latency]
    own = [one for one in throughput if one.support.own is not Own.NOTHING]
    none = [one for one in throughput if one.support.own is Own.NOTHING]
    return [
        *outcome(f"{name}, devices with other results, throughput", own),
        *outcome(f"{name}, devices without any, throughput", none),
    ]


if __name__ == "__main__":
    main()
