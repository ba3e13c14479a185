"""The generated applications, and what makes a row numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leptonbench.errors import UsageError
from leptonbench.tasks import credit
from leptonbench.tasks.tabular_features import FILE, Category, Features, Number


def _digest(table: credit.Table) -> str:
    digest = hashlib.sha256()
    for part in table:
        digest.update(np.ascontiguousarray(part).astype(part.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]


def test_rows_depend_on_their_key_alone() -> None:
    whole = credit.generate(7, "evaluation", 0, 10_000)
    np.random.seed(1)
    part = credit.generate(7, "evaluation", 8_100, 8_300)
    for all_rows, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_rows[8_100:8_300], some)


@pytest.mark.parametrize("key", [(8, "evaluation"), (7, "calibration")])
def test_seed_and_split_change_every_row(key: tuple[int, str]) -> None:
    reference = {row.tobytes() for row in credit.generate(7, "evaluation", 0, 500).numbers}
    assert not reference & {row.tobytes() for row in credit.generate(*key, 0, 500).numbers}


def test_the_bytes_are_those_of_this_version() -> None:
    """A change here changes what models were trained on: raise GENERATOR_VERSION and train again."""
    assert credit.GENERATOR_VERSION == 1
    assert _digest(credit.generate(2026, "evaluation", 0, 1_000)) == "9f45ecd40abb067f"


def test_columns_are_plausible_and_finite() -> None:
    table = credit.generate(3, "train", 0, 20_000)
    columns = dict(zip(credit.NUMBERS, table.numbers.T, strict=True))
    assert np.isfinite(table.numbers).all() and np.isfinite(table.score).all()
    assert columns["age_years"].min() >= 18 and columns["bureau_score"].max() <= 850
    assert (columns["income_usd"] > 0).all() and (columns["interest_pct"] > 0).all()
    assert (columns["employment_years"] <= columns["age_years"] - 17).all()
    assert all(set(np.unique(column)) <= {*range(len(values))} for column, values in _kinds(table))
    assert 0.08 < table.defaults.mean() < 0.12


def _kinds(table: credit.Table) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    return list(zip(table.codes.T, credit.CATEGORIES.values(), strict=True))


def test_every_category_occurs() -> None:
    table = credit.generate(3, "train", 0, 20_000)
    for column, values in _kinds(table):
        assert np.bincount(column, minlength=len(values)).min() > 100


def test_columns_depend_on_each_other_as_in_credit_files() -> None:
    table = credit.generate(3, "train", 0, 20_000)
    columns = dict(zip(credit.NUMBERS, table.numbers.T, strict=True))
    arrears, standing = columns["arrears_24m"], columns["bureau_score"]
    assert np.corrcoef(arrears, standing)[0, 1] < -0.4
    assert np.corrcoef(standing, columns["interest_pct"])[0, 1] < -0.4
    assert np.all(columns["months_since_arrears"][arrears == 0] == 84)


def test_the_score_ranks_better_than_any_column() -> None:
    table = credit.generate(3, "train", 0, 20_000)
    best = roc_auc_score(table.defaults, table.score)
    alone = [roc_auc_score(table.defaults, column) for column in table.numbers.T]
    assert best > max(max(area, 1 - area) for area in alone) + 0.05
    assert 0.8 < best < 0.88


def test_no_rows_are_no_error() -> None:
    table = credit.generate(7, "train", 5, 5)
    assert table.numbers.shape == (0, len(credit.NUMBERS)) and table.codes.shape == (0, len(credit.CATEGORIES))


@pytest.mark.parametrize(("seed", "start", "stop"), [(-1, 0, 1), (0, -1, 1), (0, 2, 1)])
def test_a_wrong_key_is_refused(seed: int, start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="wants seed >= 0"):
        credit.generate(seed, "train", start, stop)


FEATURES = Features(
    numbers=(Number(name="income", mean=2.0, std=0.5, log=True), Number(name="age", mean=40.0, std=10.0)),
    categories=(Category(name="home", values=("own", "rent")), Category(name="job", values=("a", "b", "c"))),
)


def test_a_row_is_standardised_and_its_categories_become_ones() -> None:
    encoded = FEATURES.encode_row({"income": np.expm1(3.0), "age": 35.0, "home": "rent", "job": "c"})
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, [[2.0, -0.5, 0, 1, 0, 0, 1]], rtol=1e-6)
    assert encoded.shape == (1, FEATURES.width)


def test_rows_together_are_what_they_are_alone() -> None:
    numbers, codes = np.array([[5.0, 20.0], [-3.0, 60.0]]), np.array([[0, 2], [1, 0]])
    alone = [
        FEATURES.encode_row({"income": 5.0, "age": 20.0, "home": "own", "job": "c"}),
        FEATURES.encode_row({"income": -3.0, "age": 60.0, "home": "rent", "job": "a"}),
    ]
    np.testing.assert_array_equal(FEATURES.encode(numbers, codes), np.concatenate(alone))


def test_categories_can_be_places() -> None:
    plain = FEATURES.model_copy(update={"one_hot": False})
    encoded = plain.encode_row({"income": np.expm1(2.0), "age": 40.0, "home": "rent", "job": "c"})
    np.testing.assert_allclose(encoded, [[0, 0, 1, 2]], atol=1e-6)


def test_an_unknown_value_of_a_category_is_named() -> None:
    with pytest.raises(UsageError, match="`tent` is no value of `home`") as caught:
        FEATURES.encode_row({"income": 1.0, "age": 20.0, "home": "tent", "job": "a"})
    assert "own, rent" in caught.value.hint


def test_what_a_row_becomes_is_part_of_its_identity() -> None:
    other = FEATURES.model_copy(update={"one_hot": False})
    assert len({FEATURES.identity, other.identity, Features(numbers=FEATURES.numbers).identity}) == 3


def test_a_folder_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert Features.from_folder(tmp_path) is None
    assert Features.from_folder(None) is None


def test_a_folder_is_read_back(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(FEATURES.model_dump_json(), encoding="utf-8")
    assert Features.from_folder(tmp_path) == FEATURES


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ("[1, 2", "Expecting"),
        ({}, "there is no feature"),
        ({"numbers": [{"name": "a", "std": 0.0}]}, "numbers.0.std"),
        ({"numbers": [{"name": "a"}, {"name": "a"}]}, "feature `a` is there twice"),
        ({"numbers": [{"name": "label"}]}, "cannot be called `label`"),
        ({"categories": [{"name": "a", "values": ["x", "x"]}]}, "has a value twice"),
        ({"numbers": [{"name": "a", "men": 1.0}]}, "numbers.0.men"),
    ],
)
def test_a_damaged_file_is_explained(tmp_path: Path, document: object, cause: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="cannot read the pre-processing") as caught:
        Features.from_folder(tmp_path)
    assert cause in caught.value.cause and FILE in caught.value.cause
