"""How wrong are projections? Every published result, projected as if it were not there.

    python -m benchmarks.projection_backtest                 # hold the stored constants against the table
    python -m benchmarks.projection_backtest --write         # write their errors anew
    python -m benchmarks.projection_backtest --fit --write   # fit them anew, too: half an hour

The constants are fitted by likelihood and never by these errors; every error is of constants that were fitted without
the projected chip, so that no result helps to project itself. The headline is of devices that published three other
models or more, projected in throughput with all accuracy targets and scenarios of the asked model hidden on them.
"""

from __future__ import annotations

import argparse
import datetime
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial

import numpy as np
import yaml

from benchmarks.common import ROOT, Outcome, tell
from leptonbench.atomic import write_atomically
from leptonbench.projection.anchors import Kin, Own, Table
from leptonbench.projection.backtest import (
    PROTOCOLS,
    Hide,
    leave_out,
    measured_elsewhere,
    pairs,
    ratio_trials,
    under_folds,
)
from leptonbench.projection.claims import (
    BackTest,
    Check,
    Claim,
    Fold,
    Trial,
    Widening,
    claims,
    coverage,
    widening_for,
)
from leptonbench.projection.fit import START, fit
from leptonbench.projection.unseen import earlier_rounds, other_submitters
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
    chosen = parser.parse_args()
    observations = published_observations()
    if chosen.fit and not chosen.write:
        parser.error("--fit wants --write: constants come with their errors")
    if chosen.fit:
        table = table_of(observations, fit(table_of(observations, START)))
        folds = fit_folds(table)
    else:
        stored = read_stored()
        table, folds = table_of(observations, stored.constants), stored.folds
    trials = {name: under_folds(table, folds, partial(_left_out, hide)) for name, hide in PROTOCOLS.items()}
    rounds, submitters = unseen(table, folds)
    anchored = under_folds(table, folds, pairs)
    plain = claims(all_of(trials))
    widening = widening_for([*rounds, *submitters], plain)
    found = claims(all_of(trials), widening)
    checks = [
        *headline(trials[HEADLINE]),
        *headline(leave_out(table, PROTOCOLS[HEADLINE]), prefix="constants fitted to all results, too: ", goal=None),
        *single_anchors(anchored),
        *ratios(table),
        *_split("earlier rounds only", rounds),
        *_split("other submitters only", submitters),
    ]
    covered = [
        Outcome(f"{name}: within the interval{' if it were not widened' if known is plain else ''}", share, "%", n=n)
        for name, some in (("earlier rounds only", rounds), ("other submitters only", submitters))
        for known in (plain, found)
        for share, n in [coverage(some, known)]
    ]
    if chosen.write:
        keep(table, folds, widening, found, anchored, checks)
    tell(
        "projection_backtest",
        [*checks, *covered, *map(_of_claim, found)],
        constants=table.variances._asdict(),
        widening=widening.model_dump(),
        claims=[one.model_dump() for one in found],
    )


def _left_out(hide: Hide, table: Table, devices: Collection[str]) -> list[Trial]:
    return leave_out(table, hide, devices)


def unseen(table: Table, folds: Sequence[Fold]) -> tuple[list[Trial], list[Trial]]:
    """Return back-tests from earlier rounds alone, and from other submitters alone."""
    submissions = [one for one in published_submissions() if one.device in accelerators()]

    def rounds(under: Table, devices: Collection[str]) -> list[Trial]:
        return earlier_rounds(under, submissions, devices)

    def submitters(under: Table, devices: Collection[str]) -> list[Trial]:
        return other_submitters(under, submissions, devices)

    return under_folds(table, folds, rounds), under_folds(table, folds, submitters)


def read_stored() -> BackTest:
    """Return what was written last."""
    return BackTest.model_validate(yaml.safe_load(_STORED.read_text(encoding="utf-8")))


def keep(
    table: Table,
    folds: Sequence[Fold],
    widening: Widening,
    found: Sequence[Claim],
    anchored: Sequence[Trial],
    checks: Sequence[Outcome],
) -> None:
    """Write a table's constants with the errors under them, and the page that shows them."""
    with_cpus = table_of(published_observations(cpus=True), table.variances)
    kept = BackTest(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        observations=len(table.observations),
        variances={name: round(value, 6) for name, value in table.variances._asdict().items()},
        folds=tuple(folds),
        widening=widening,
        claims=tuple(found),
        pairs=tuple(claims(anchored, widening)),
        cells=tuple(claims(under_folds(with_cpus, folds, measured_elsewhere), widening)),
        checks=tuple(map(_check, checks)),
    )
    write_page(kept)
    head = (
        "# Written by `python -m benchmarks.projection_backtest --fit --write`; docs/projection.md says what each is.\n"
    )
    text = head + yaml.safe_dump(kept.model_dump(mode="json"), sort_keys=False, width=120)
    write_atomically(_STORED, text.encode())


def _check(one: Outcome) -> Check:
    low, high = (round(end or 0.0, 1) for end in (one.low, one.high))
    return Check(name=one.name, mean_abs_error_percent=round(one.value, 1), low=low, high=high, n=one.n)


def page_section(found: BackTest) -> str:
    """Return the tables that docs/projection.md shows."""
    lines = [f"Of {found.observations} results (device, benchmark and scenario); fitted {found.date}.", ""]
    lines += ["| mean absolute error | | 95 % interval | n |", "|---|---|---|---|"]
    lines += [f"| {c.name} | {c.mean_abs_error_percent} % | {c.low} to {c.high} % | {c.n} |" for c in found.checks]
    powers = found.widening
    lines += ["", f"Factors are widened to the power {powers.throughput:.2f} (throughput) and {powers.latency:.2f} "]
    lines[-1] += "(latency)."
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


def _of_claim(claim: Claim) -> Outcome:
    kind = "latency" if claim.by_latency else "throughput"
    return Outcome(f"{kind}: {claim.own}; {claim.kin or 'any kin'}", 100 * claim.mean_abs_error, "%", n=claim.n)


def fit_folds(table: Table) -> tuple[Fold, ...]:
    """Return each fold of chips with the constants that are fitted to all others.

    The search begins at the whole table's constants, which spares most of its steps, and ends where no step of it makes
    the other chips' results more likely.
    """
    chips = sorted({(one.traits.vendor, one.traits.chip) for one in table.points})
    order = np.random.default_rng(0).permutation(len(chips))
    found = []
    for fold in range(_FOLDS):
        hidden = {chips[index] for index in order[fold::_FOLDS]}
        mine = {one.device for one in table.points if (one.traits.vendor, one.traits.chip) in hidden}
        rest = tuple(one for one in table.observations if one.device not in mine)
        constants = fit(Table(rest, table.traits, table.variances), table.variances)
        variances = {name: round(value, 6) for name, value in constants._asdict().items()}
        found.append(Fold(devices=tuple(sorted(mine)), variances=variances))
    return tuple(found)


def single_anchors(trials: Sequence[Trial]) -> list[Outcome]:
    """Return the errors of projections from one other device."""
    found = [one for one in trials if not one.support.by_latency and one.support.own is Own.SEVERAL]
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
        strangers = [one for one in throughput if one.support.kin is Kin.NONE]
        found += outcome(f"ratio of {method}, all ordered pairs, throughput", throughput)
        found += outcome(f"ratio of {method}, one of its chip or architecture, throughput", related)
        found += outcome(f"ratio of {method}, one of another vendor, throughput", strangers)
    return found


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
