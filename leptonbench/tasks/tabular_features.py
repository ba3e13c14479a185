"""How a row of named values becomes numbers: standardised, or as they are; categories as ones and zeros, or as places.

A model's `preprocessor_config.json` says so, as the training script wrote it:

    {"numbers": [{"name": "income_usd", "mean": 10.5, "std": 0.9, "log": true}, ...],
     "categories": [{"name": "housing", "values": ["owner", "mortgage", "rent", "family"]}, ...]}
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from leptonbench.errors import UsageError
from leptonbench.schema.quantity import Frozen

FILE = "preprocessor_config.json"
LABEL = "label"
Row = Mapping[str, float | str]


class Number(Frozen):
    """One numeric feature: (x - mean) / std, of log(1 + x) where `log` says so."""

    name: str = Field(min_length=1)
    mean: float = Field(default=0.0, allow_inf_nan=False)
    std: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    log: bool = False


class Category(Frozen):
    """One categorical feature and the values it can take."""

    name: str = Field(min_length=1)
    values: tuple[str, ...] = Field(min_length=1)

    @cached_property
    def places(self) -> dict[str, int]:
        """Return the place of each value."""
        return {value: place for place, value in enumerate(self.values)}


class Features(Frozen):
    """The features of a row, numbers first, each group in the order in which the model takes it.

    Attributes:
        one_hot: Whether a category becomes as many ones and zeros as it has values, or the place of its value.
    """

    numbers: tuple[Number, ...] = ()
    categories: tuple[Category, ...] = ()
    one_hot: bool = True

    @model_validator(mode="after")
    def _distinct(self) -> Features:
        if not self.names:
            raise ValueError("there is no feature")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"feature `{twice[0]}` is there twice")
        for category in self.categories:
            if len(set(category.values)) < len(category.values):
                raise ValueError(f"category `{category.name}` has a value twice")
        if LABEL in self.names:
            raise ValueError(f"a feature cannot be called `{LABEL}`")
        return self

    @classmethod
    def from_folder(cls, folder: Path | None) -> Features | None:
        """Read a model's folder; `None` where it says nothing.

        Raises:
            UsageError: If the file is there and cannot be understood.
        """
        path = folder / FILE if folder else None
        if path is None or not path.exists():
            return None
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read the pre-processing of the model in `{path.parent}`",
                cause=f"{path}: {_first(error)}",
                hint="it lists `numbers` (name, mean, std, log) and `categories` (name, values)",
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Return the features' names, numbers first."""
        return (*(number.name for number in self.numbers), *(category.name for category in self.categories))

    @property
    def width(self) -> int:
        """Return how many numbers a row becomes."""
        per_category = (len(category.values) if self.one_hot else 1 for category in self.categories)
        return len(self.numbers) + sum(per_category)

    @property
    def identity(self) -> str:
        """Return a hash of everything that decides what a row becomes."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def place(self, category: Category, value: object) -> int:
        """Return the place of a category's value.

        Raises:
            UsageError: If the model knows no such value.
        """
        try:
            return category.places[str(value)]
        except KeyError:
            raise UsageError(
                f"`{value}` is no value of `{category.name}`",
                hint=f"the model knows {', '.join(category.values)}",
            ) from None

    def encode_row(self, row: Row) -> NDArray[np.float32]:
        """Return one row of named values as float32 [1, width].

        Raises:
            UsageError: If a category has a value that the model does not know.
        """
        numbers = np.array([[float(row[number.name]) for number in self.numbers]], dtype=np.float64)
        codes = np.array([[self.place(c, row[c.name]) for c in self.categories]], dtype=np.int64)
        return self.encode(numbers, codes)

    def encode(self, numbers: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows as float32 [n, width].

        Args:
            numbers: [n, numbers], in the features' order.
            codes: [n, categories], the places of the values.
        """
        mean, std, logs, offsets = self._arrays
        count = len(self.numbers)
        values = numbers.copy()
        values[:, logs] = np.log1p(np.maximum(values[:, logs], 0.0))
        row = np.zeros((len(numbers), self.width), dtype=np.float32)
        row[:, :count] = (values - mean) / std
        if self.one_hot:
            np.put_along_axis(row, codes + offsets, np.float32(1), axis=1)
        else:
            row[:, count:] = codes
        return row

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        sizes = [len(category.values) for category in self.categories]
        return (
            np.array([number.mean for number in self.numbers]),
            np.array([number.std for number in self.numbers]),
            np.array([number.log for number in self.numbers], dtype=bool),
            len(self.numbers) + np.cumsum([0, *sizes[:-1]], dtype=np.int64)[: len(sizes)],
        )


def parse_number(text: str) -> float:
    """Return a finite number.

    Raises:
        ValueError: If the text is none.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"`{text}` is not finite")
    return value


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        return f"{where}: {detail['msg']}" if where else detail["msg"]
    return str(error).splitlines()[0]
