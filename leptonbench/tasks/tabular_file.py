"""Rows with labels: a user's CSV, and the table that it and the generator become."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Split
from leptonbench.tasks.tabular_features import LABEL, Features, Number, Row, parse_number

_HELD_MOST = 4096  # rows that calibrate and teach, of a file that has five times as many


class TableSamples:
    """Rows of named values with 0 or 1 as the truth.

    Args:
        identity: Names exactly these rows.
        features: Their columns.
        numbers: float64 [n, numbers], in the features' order.
        codes: int64 [n, categories], places of the values.
        labels: int64 [n].
    """

    def __init__(
        self,
        identity: str,
        features: Features,
        *,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> None:
        self.identity = identity
        self.features = features
        self.numbers, self.codes, self.labels = numbers, codes, labels

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.labels)

    def raw(self, index: int) -> Row:
        """Return one row: a number or a category's value by the column's name."""
        numbers = zip(self.features.numbers, self.numbers[index].tolist(), strict=True)
        codes = zip(self.features.categories, self.codes[index].tolist(), strict=True)
        return {n.name: value for n, value in numbers} | {c.name: c.values[code] for c, code in codes}

    def target(self, index: int) -> int:
        """Return 1 for the positive class, 0 for the other."""
        return int(self.labels[index])

    def duration_s(self, index: int) -> None:
        """Return nothing: a row has no length."""


class _Parsed(NamedTuple):
    """One line of the file, and the hash that decides where it goes."""

    digest: bytes
    numbers: list[float]
    codes: list[int]
    label: int


class CsvTable:
    """A user's CSV: a header, the model's features by name in any order, and a column `label` of 0 and 1.

    A fifth of the rows, at most 4,096, calibrates and teaches and the rest evaluates; which, is fixed by what a row
    says, so equal rows stay together.

    Args:
        path: Of the file, UTF-8, comma-separated.
        features: What the model takes; `None` takes every column but the label, in the file's order, as a number.

    Raises:
        UsageError: If the file cannot be read, a column is missing or unknown, a value is no number or no known
            category, or a class is missing from what would evaluate.
    """

    def __init__(self, path: Path, features: Features | None) -> None:
        self.path = path
        self.features, rows = self._read(features)
        rows.sort(key=lambda row: row.digest)
        held = min(_HELD_MOST, max(1, len(rows) // 5))
        while 0 < held < len(rows) and rows[held].digest == rows[held - 1].digest:
            held += 1
        self._parts = {Split.CALIBRATION: rows[:held], Split.EVALUATION: rows[held:]}
        self._check_classes(self._parts[Split.EVALUATION])

    def samples(self, split: Split, *, limit: int | None) -> TableSamples:
        """Return the first `limit` rows of a split, or all of them."""
        rows = self._parts[split][:limit]
        return TableSamples(
            f"csv-{self._sha256[:16]}-{self.features.identity}-{split.value}-{len(rows)}",
            self.features,
            numbers=np.array([row.numbers for row in rows], dtype=np.float64).reshape(len(rows), -1),
            codes=np.array([row.codes for row in rows], dtype=np.int64).reshape(len(rows), -1),
            labels=np.array([row.label for row in rows], dtype=np.int64),
        )

    def _read(self, features: Features | None) -> tuple[Features, list[_Parsed]]:
        if not self.path.is_file():
            raise UsageError(
                f"`{self.path}` is not a file", hint=f"`--data` takes a CSV with the model's features and `{LABEL}`"
            )
        try:
            self._sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                header = [name.strip() for name in next(reader, [])]
                features = self._columns(header, features)
                return features, list(self._rows(reader, header, features))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(
                f"`{self.path}` cannot be read as CSV", cause=str(error), hint="save it as UTF-8, with commas"
            ) from error

    def _columns(self, header: list[str], features: Features | None) -> Features:
        twice = sorted({name for name in header if header.count(name) > 1})
        wanted = features.names if features else tuple(name for name in header if name != LABEL)
        missing = [name for name in (*wanted, LABEL) if name not in header]
        unknown = [name for name in header if name not in (*wanted, LABEL)]
        for problem, names in (("has no column", missing), ("has twice the column", twice)):
            if names:
                raise UsageError(
                    f"`{self.path}` {problem} `{names[0]}`",
                    cause=f"its columns are {', '.join(header[:8]) or 'none'}{' ...' if len(header) > 8 else ''}",
                    hint=f"the first line names every feature of the model ({', '.join(wanted[:8])} ...) and `{LABEL}`",
                )
        if unknown:
            raise UsageError(
                f"`{self.path}` has a column `{unknown[0]}` that the model does not take",
                cause=f"{len(unknown)} such columns" if len(unknown) > 1 else "",
                hint=f"leave it out; the model takes {', '.join(wanted)}",
            )
        if not wanted:
            raise UsageError(f"`{self.path}` has no feature beside `{LABEL}`", hint="add a column a feature")
        return features or Features(numbers=tuple(Number(name=name) for name in wanted))

    def _rows(self, reader: Iterator[list[str]], header: Sequence[str], features: Features) -> Iterator[_Parsed]:
        places = {name: place for place, name in enumerate(header)}
        columns = [places[name] for name in (*features.names, LABEL)]
        for cells in reader:
            if not cells:
                continue
            line = getattr(reader, "line_num", 0)
            if len(cells) != len(header):
                raise self._wrong(line, f"{len(cells)} values, {len(header)} columns", "quote values that hold commas")
            texts = [cells[column].strip() for column in columns]
            yield self._parsed(line, texts, features)

    def _parsed(self, line: int, texts: list[str], features: Features) -> _Parsed:
        count = len(features.numbers)
        numbers = [self._number(line, n.name, text) for n, text in zip(features.numbers, texts[:count], strict=True)]
        try:
            kinds = zip(features.categories, texts[count:-1], strict=True)
            codes = [features.place(category, text) for category, text in kinds]
        except UsageError as error:
            raise self._wrong(line, error.message, error.hint) from error
        label = self._number(line, LABEL, texts[-1])
        if label not in (0.0, 1.0):
            raise self._wrong(line, f"`{LABEL}` is `{texts[-1]}`", "it is 0 or 1, 1 for what the model scores high")
        return _Parsed(hashlib.sha256("\0".join(texts).encode()).digest(), numbers, codes, int(label))

    def _number(self, line: int, name: str, text: str) -> float:
        try:
            return parse_number(text)
        except ValueError:
            problem = f"`{name}` is `{text}`" if text else f"`{name}` is empty"
            raise self._wrong(
                line, f"{problem}, not a number", "fill in missing values, or leave the row out"
            ) from None

    def _check_classes(self, rows: Sequence[_Parsed]) -> None:
        ones = sum(row.label for row in rows)
        if min(ones, len(rows) - ones) < 2:
            raise UsageError(
                f"`{self.path}` cannot be scored: nearly all of its rows are of one class",
                cause=f"of {len(rows)} rows that evaluate, {ones} have label 1",
                hint="the area under the curve compares the two classes; it wants at least two rows of each",
            )

    def _wrong(self, line: int, cause: str, hint: str) -> UsageError:
        return UsageError(f"`{self.path}` is not valid", cause=f"line {line}: {cause}", hint=hint)
