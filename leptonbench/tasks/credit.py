"""Generate applications for consumer credit, and whether they default, from a seed.

Credit files are personal data, so the credit-scoring workload draws its own. Three hidden traits of an applicant
(means, prudence, stability) and noise make the columns of an application, so that columns depend on each other as they
do in credit files: income on education and age, the bureau's score on past arrears, the interest rate on the score.
Default depends on the columns alone, through thresholds, ratios and products of them, and on chance that no column
tells: an unobserved shock, and a label in two hundred that was recorded wrong. No name, shape or number describes a
real lender's customers, and characteristics that lenders may not use are left out.

Rows are a function of (seed, split, index) and of nothing else: each takes a fixed count of words of one PCG64 stream
a split, so any range of rows can be drawn by itself. Bytes are meant to be equal on every machine, by the means that
`leptonbench.tasks.surface` states: raw words, and IEEE add, multiply, divide and square root in a fixed order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

GENERATOR_VERSION = 1  # part of identities: raise it whenever any value of any row changes
DEFAULT_FROM = 5.6  # the score above which an applicant defaults: one in ten do
SHOCK = 2.5  # standard deviation of what no column tells, in units of the score
WRONG_LABELS = 0.005

NUMBERS = (
    "age_years",
    "income_usd",
    "employment_years",
    "address_years",
    "dependants",
    "savings_months",
    "credit_history_years",
    "open_accounts",
    "card_balance_usd",
    "card_use_pct",
    "inquiries_6m",
    "arrears_24m",
    "months_since_arrears",
    "bureau_score",
    "loan_usd",
    "term_months",
    "interest_pct",
    "debt_to_income_pct",
    "instalment_to_income_pct",
)
CATEGORIES: dict[str, tuple[str, ...]] = {
    "purpose": ("debt", "car", "home", "medical", "education", "business", "travel", "other"),
    "housing": ("owner", "mortgage", "rent", "family"),
    "employment": ("employee", "public", "self-employed", "retired", "student", "unemployed"),
    "education": ("school", "vocational", "bachelor", "master"),
    "region": ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"),
    "channel": ("branch", "web", "app", "broker"),
    "verification": ("payslip", "bank-link", "stated"),
}

_NORMALS, _UNIFORMS = 20, 12
_WORDS = 2 * _NORMALS + _UNIFORMS  # 64-bit words a row: a normal takes two
_CHUNK = 8192  # rows drawn at a time: 3.4 MB of words
_REGION_RISK = (-0.35, -0.2, -0.1, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.45)  # by region, in units of the score
_RATE_OF_PURPOSE = (0.8, -0.6, -0.8, 0.2, -0.3, 1.2, 0.9, 0.4)  # percentage points, in the order of `purpose`


class Table(NamedTuple):
    """Rows of applications.

    Attributes:
        numbers: float64 [n, len(NUMBERS)].
        codes: int64 [n, len(CATEGORIES)], places in each column's list of categories.
        defaults: int64 [n], 1 for an application that defaulted.
        score: float64 [n]; the chance of default rises with it alone, so that no model ranks better than it does.
    """

    numbers: Floats
    codes: Codes
    defaults: Codes
    score: Floats


def generate(seed: int, split: str, start: int, stop: int) -> Table:
    """Draw rows `start` to `stop` of a split.

    Args:
        seed: Of the data set, not negative.
        split: Any name; two splits have nothing in common but the generator.
        start: First row, not negative.
        stop: One beyond the last.

    Raises:
        ValueError: If the seed or a row is negative, or `stop` is before `start`.
    """
    if seed < 0 or not 0 <= start <= stop:
        raise ValueError(f"wants seed >= 0 and 0 <= start <= stop, got {seed}, {start}, {stop}")
    parts = [_rows(*draws) for draws in _draws(seed, split, start, stop)]
    if not parts:
        empty = np.zeros(0)
        return Table(
            np.zeros((0, len(NUMBERS))), np.zeros((0, len(CATEGORIES)), np.int64), np.zeros(0, np.int64), empty
        )
    return Table(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _draws(seed: int, split: str, start: int, stop: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield normals [_NORMALS, n] and uniforms in [0, 1) [_UNIFORMS, n], a chunk of rows at a time."""
    word = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "little")
    bits = np.random.PCG64(np.random.SeedSequence((seed, word)))
    bits.advance(start * _WORDS)
    for first in range(start, stop, _CHUNK):
        count = min(_CHUNK, stop - first)
        words = np.asarray(bits.random_raw(count * _WORDS), dtype="<u8").reshape(count, _WORDS)
        # Eight 16-bit numbers summed (a sum of integers is exact): near enough to normal, and none is beyond 4.9.
        halves = np.ascontiguousarray(words[:, : 2 * _NORMALS]).view("<u2").reshape(count, _NORMALS, 8)
        totals = halves.sum(axis=2, dtype=np.int64).astype(np.float64)
        normals = (totals - 8 * 32767.5) * (1.0 / (65536.0 * np.sqrt(8.0 / 12.0)))
        uniforms = (words[:, 2 * _NORMALS :] >> np.uint64(11)).astype(np.float64) * 2.0**-53
        yield np.ascontiguousarray(normals.T), np.ascontiguousarray(uniforms.T)


def _growth(x: Floats) -> Floats:
    """Return (1 + x / 32)**32, close to the exponential and equal on every machine."""
    power = np.maximum(1.0 + x * (1.0 / 32.0), 0.0)
    for _ in range(5):
        power = power * power
    return power


def _above(x: Floats, limit: float) -> Floats:
    """Return how far x is above a limit, else 0."""
    return np.maximum(x - limit, 0.0)


def _pick(u: Floats, weights: Sequence[NDArray[np.floating[Any]]]) -> Codes:
    """Return which of the weights' shares of [0, 1) each uniform falls in."""
    total = weights[0]
    for weight in weights[1:]:
        total = total + weight
    code = np.zeros(len(u), dtype=np.int64)
    reached = np.zeros_like(u)
    for weight in weights[:-1]:
        reached = reached + weight / total
        code += u >= reached
    return code


def _rows(z: Floats, u: Floats) -> tuple[Floats, Codes, Codes, Floats]:
    """Make a chunk of rows of its draws."""
    n = z.shape[1]
    person, codes = _applicant(z, u)
    bureau = _bureau(z, person)
    loan, asked = _application(z, u, person | bureau, codes)
    columns, codes = person | bureau | loan, codes | asked
    score = _score(columns, codes)
    late = score + SHOCK * z[19] > DEFAULT_FROM
    defaults = (late ^ (u[11] < WRONG_LABELS)).astype(np.int64)
    numbers = np.stack([columns[name] for name in NUMBERS], axis=1)
    kinds = np.stack([codes[name] for name in CATEGORIES], axis=1)
    return numbers.reshape(n, len(NUMBERS)), kinds.reshape(n, len(CATEGORIES)), defaults, score


def _applicant(z: Floats, u: Floats) -> tuple[dict[str, Floats], dict[str, Codes]]:
    """Draw who applies: age, work, means. The hidden traits travel along under names of their own."""
    means, prudence, stability = z[0], z[1], 0.5 * z[1] + 0.85 * z[2]
    age = np.rint(np.clip(41.0 + 13.0 * (0.95 * z[3] + 0.2 * stability), 18.0, 84.0))
    level = 0.7 * means + 0.7 * z[4]
    education = (level > -0.7).astype(np.int64) + (level > 0.35) + (level > 1.15)
    ones = np.ones_like(age)
    employment = _pick(
        u[0],
        [
            5.0 * ones,
            1.3 * _growth(0.4 * stability),
            1.0 * _growth(-0.3 * stability + 0.2 * means),
            0.02 + 2.2 * _above(age, 58.0),
            0.02 + 0.7 * _above(28.0 - age, 0.0),
            0.35 * _growth(-0.6 * stability),
        ],
    )
    factor = np.asarray((1.0, 1.05, 1.15, 0.7, 0.35, 0.4))[employment]
    peak = 1.0 - (age - 48.0) * (age - 48.0) * (1.0 / 3600.0)
    income = 41_000.0 * factor * peak * _growth(0.42 * means + 0.13 * (education - 1.0) + 0.28 * z[5])
    income = np.maximum(np.rint(income * 0.01) * 100.0, 3_000.0)
    works = (employment < 3).astype(np.float64)
    tenure = np.minimum(works * _growth(0.9 + 0.6 * stability + 0.7 * z[6]), age - 17.0)
    address = np.minimum(_growth(1.2 + 0.35 * stability + 0.8 * z[7]), age)
    settled = 0.6 * means + 0.03 * (age - 40.0) + 0.3 * stability
    housing = _pick(u[1], [_growth(settled - 1.0), _growth(0.8 * settled), ones, _growth(-0.08 * (age - 24.0)) + 0.02])
    person = {
        "prudence": prudence,
        "age_years": age,
        "income_usd": income,
        "employment_years": np.rint(tenure * 10.0) * 0.1,
        "address_years": np.rint(address * 10.0) * 0.1,
        "dependants": np.floor(np.clip(0.4 + 0.9 * z[8] + 0.02 * (age - 30.0), 0.0, 5.0)),
        "savings_months": np.rint(_growth(0.4 + 0.55 * prudence + 0.35 * means + 0.7 * z[9]) * 10.0) * 0.1,
    }
    region = _pick(u[2], [_growth(0.08 * (4.5 - place) * means) for place in range(10)])
    return person, {"housing": housing, "employment": employment, "education": education, "region": region}


def _bureau(z: Floats, person: dict[str, Floats]) -> dict[str, Floats]:
    """Draw what the credit bureau knows of the applicant."""
    prudence, age = person["prudence"], person["age_years"]
    history = np.rint(np.clip((age - 18.0) * (0.45 + 0.2 * z[10]), 0.0, 60.0) * 10.0) * 0.1
    accounts = np.floor(np.clip(3.0 + 0.12 * history - 0.4 * prudence + 2.0 * z[11], 0.0, 24.0))
    use = np.rint(np.clip(38.0 - 11.0 * prudence + 22.0 * z[12], 0.0, 120.0) * 10.0) * 0.1
    balance = np.rint(person["income_usd"] * 0.0022 * use * _growth(0.5 * z[13])) * (accounts > 0)
    arrears = np.floor(np.clip(-0.35 - 0.85 * prudence + 0.01 * use + 0.8 * z[14], 0.0, 6.0))
    since = np.where(arrears > 0, np.floor(np.clip(24.0 / (1.0 + arrears) + 5.0 * z[15], 0.0, 24.0)), 84.0)
    inquiries = np.floor(np.clip(0.7 - 0.5 * prudence + 0.012 * use + 1.1 * z[16], 0.0, 9.0))
    standing = 655.0 + 34.0 * prudence - 0.4 * use - 24.0 * arrears - 6.0 * inquiries + 1.6 * history + 30.0 * z[17]
    return {
        "credit_history_years": history,
        "open_accounts": accounts,
        "card_balance_usd": balance,
        "card_use_pct": use,
        "arrears_24m": arrears,
        "months_since_arrears": since,
        "inquiries_6m": inquiries,
        "bureau_score": np.rint(np.clip(standing, 300.0, 850.0)),
    }


def _application(
    z: Floats, u: Floats, known: dict[str, Floats], codes: dict[str, Codes]
) -> tuple[dict[str, Floats], dict[str, Codes]]:
    """Draw what is asked for, how, and at what price."""
    income, ones = known["income_usd"], np.ones(z.shape[1])
    strain = known["card_use_pct"] * 0.01
    purpose = _pick(
        u[3],
        [
            0.6 + 2.5 * strain,
            1.6 * ones,
            0.3 + 0.9 * (codes["housing"] < 2),
            0.5 * ones,
            0.2 + 0.9 * (codes["employment"] == 4),
            0.15 + 1.5 * (codes["employment"] == 2),
            0.6 * ones,
            0.7 * ones,
        ],
    )
    size = np.asarray((0.32, 0.38, 0.45, 0.18, 0.25, 0.6, 0.12, 0.2))[purpose]
    loan = np.clip(np.rint(income * size * _growth(0.55 * z[18]) * 0.01) * 100.0, 500.0, 100_000.0)
    term = 12.0 * (1.0 + np.floor(np.clip(6.0 * loan / (income + loan) + 3.5 * u[4] - 0.3, 0.0, 6.0)))
    young = (known["age_years"] < 35).astype(np.float64)
    channel = _pick(u[5], [1.0 - 0.6 * young, 1.3 * ones, 0.5 + 0.9 * young, 0.35 + 0.5 * strain])
    verification = _pick(u[6], [1.4 * ones, 0.4 + 0.8 * (channel == 2), 0.3 + 0.5 * (channel == 3)])
    rate = 15.5 - 0.028 * (known["bureau_score"] - 600.0) + 0.018 * (term - 36.0)
    rate = rate + np.asarray(_RATE_OF_PURPOSE)[purpose] + 1.2 * (channel == 3) + 2.4 * (u[7] - 0.5)
    rate = np.rint(np.clip(rate, 3.0, 30.0) * 100.0) * 0.01
    # Repaid in equal parts, with interest on half the loan over the term: an annuity to within a few percent.
    instalment = loan / term + loan * rate * (0.5 / 1200.0)
    burden = 100.0 * 12.0 * instalment / income
    debts = 6.0 + 260.0 * known["card_balance_usd"] / income + 9.0 * (codes["housing"] == 1) + 12.0 * u[8]
    loans = {
        "loan_usd": loan,
        "term_months": term,
        "interest_pct": rate,
        "instalment_to_income_pct": np.rint(burden * 100.0) * 0.01,
        "debt_to_income_pct": np.rint(np.clip(debts + burden, 0.0, 200.0) * 100.0) * 0.01,
    }
    return loans, {"purpose": purpose, "channel": channel, "verification": verification}


def _score(c: dict[str, Floats], codes: dict[str, Codes]) -> Floats:
    """Return what makes an application default, of the columns alone: thresholds, ratios, products, a U in age."""
    strain = np.minimum(_above(c["card_use_pct"], 45.0) * 0.02, 1.0)
    burden = np.minimum(_above(c["debt_to_income_pct"], 30.0) * 0.02, 1.2)
    thin = 1.0 / (1.0 + c["savings_months"])
    fresh = 1.0 / (1.0 + 0.5 * c["employment_years"])
    middle = np.minimum((c["age_years"] - 48.0) * (c["age_years"] - 48.0) * (1.0 / 500.0), 1.6)
    spent = 0.01 * np.minimum(c["debt_to_income_pct"], 95.0)
    free_usd = c["income_usd"] * (1.0 - spent) / (1.0 + 0.35 * c["dependants"])
    share = c["loan_usd"] / c["income_usd"]
    known = c["credit_history_years"] > 6.0
    stated, business, car = codes["verification"] == 2, codes["purpose"] == 5, codes["purpose"] == 1
    score: Floats = 0.8 * middle + 3.2 * strain * burden + 1.2 * thin * burden
    score = score + 1.6 * strain * (codes["housing"] == 2) - 0.7 * strain * (codes["housing"] < 2)
    score = score + 7_000.0 / (7_000.0 + free_usd)
    score = score - 0.0035 * (c["bureau_score"] - 620.0) * (0.3 + 1.4 * known)
    score = score + 0.35 * c["arrears_24m"] * (c["months_since_arrears"] < 7.0)
    score = score + 0.35 * c["inquiries_6m"] * (c["open_accounts"] < 4.0)
    score = score + 2.4 * fresh * (codes["employment"] == 2) + 0.7 * fresh * (codes["employment"] == 0)
    score = score + 0.9 * (codes["employment"] == 5) - 0.5 * (codes["employment"] == 1)
    score = score + business * (0.4 + 5.0 * np.minimum(_above(share, 0.4), 0.8) * fresh)
    score = score + car * (1.2 * (c["term_months"] > 48.0) - 0.5 * (c["term_months"] < 30.0))
    score = score + stated * (1.6 * (codes["channel"] == 3) - 0.5 * (codes["channel"] == 0))
    score = score + 1.5 * stated * np.minimum(_above(c["instalment_to_income_pct"], 12.0) * 0.1, 1.0)
    score = score + np.asarray(_REGION_RISK)[codes["region"]] * (0.5 + 2.0 * (codes["housing"] == 2))
    score = score + 0.2 * np.minimum(_above(c["interest_pct"], 15.5), 5.0) * (c["term_months"] > 36.0)
    score = score - 0.12 * np.minimum(c["address_years"], 6.0) * (codes["housing"] != 0)
    score = score + 0.8 * (codes["purpose"] == 6) * (codes["channel"] == 2)
    final: Floats = score - 0.2 * (codes["education"] == 3)
    return final
