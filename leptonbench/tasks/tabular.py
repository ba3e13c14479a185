"""Scoring rows of a table: named values in, the chance of the positive class out; scored by the area under the curve.

The network takes one tensor, `features`, float32 [batch, width]: standardising numbers and setting categories' ones
belongs to pre-processing. Inside the network it would meet 8-bit ranges that span dollars and shares at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks import credit
from leptonbench.tasks.auc import Auc
from leptonbench.tasks.base import Arrays, Lesson, Samples, Split, TaskSetup
from leptonbench.tasks.tabular_features import Category, Features, Number
from leptonbench.tasks.tabular_file import CsvTable, TableSamples

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_TRAINING_ROWS = 200_000  # half a second to draw, and more than a few minutes of tuning see twice
_DIGITS = 6  # of a probability: more would tell float rounding apart

CREDIT = Features(
    numbers=tuple(Number(name=name) for name in credit.NUMBERS),
    categories=tuple(Category(name=name, values=values) for name, values in credit.CATEGORIES.items()),
    one_hot=False,
)
"""The generator's columns as they are, for a model that says nothing of its own."""


class TabularTask:
    """Binary classification of rows: the workload's own applications for credit, or a user's CSV.

    Args:
        setup: Without a `preprocessor_config.json` in the model's folder the rows' numbers are given as they are: the
            generator's columns with categories as places, or a CSV's columns in the file's order.

    Raises:
        UsageError: If the model's pre-processing cannot be read.
    """

    classes: tuple[str, ...] = ()  # a probability is no choice

    def __init__(self, setup: TaskSetup) -> None:
        self.metric = Auc()
        self._setup = setup
        self._stated = Features.from_folder(setup.model_dir)
        self._file: CsvTable | None = None
        self._cache: dict[Split, TableSamples] = {}

    def samples(self, split: Split) -> Samples:
        """Return one split: drawn, or read from the user's file.

        Raises:
            UsageError: If the user's file cannot be read as rows of the model's features, or the model's features are
                not the generator's.
            ValueError: If training rows are asked for beside a user's file, which has none.
        """
        return self._rows(split)

    def _rows(self, split: Split) -> TableSamples:
        if split not in self._cache:
            self._cache[split] = self._read(split)
        return self._cache[split]

    def _read(self, split: Split) -> TableSamples:
        data = self._setup.data
        counts = {Split.TRAIN: _TRAINING_ROWS, Split.CALIBRATION: data.calibration, Split.EVALUATION: data.evaluation}
        if self._setup.own is None:
            return _drawn(self.features, data.seed, split, count=counts[split])
        if split is Split.TRAIN:
            raise ValueError("a user's file is divided in two; learn from its calibration split")
        return self._table().samples(split, limit=counts[split])

    def _table(self) -> CsvTable:
        if self._setup.own is None:
            raise ValueError("there is no file of the user's")
        if self._file is None:
            self._file = CsvTable(self._setup.own, self._stated)
        return self._file

    @property
    def features(self) -> Features:
        """Return what the model takes, in its order."""
        if self._stated is not None:
            return self._stated
        return CREDIT if self._setup.own is None else self._table().features

    def encode(self, raw: Any) -> Arrays:
        """Return a row of named values as `features`, float32, 1 x width."""
        return {"features": self.features.encode_row(raw)}

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[float]:
        """Return the probability of the positive class of each row, to six digits.

        One column is read as a logit, and of two columns the second less the first: for logits that is the softmax, and
        for probabilities it rises with them, so that the area under the curve is the same.
        """
        place = _scores_at([output.shape for output in outputs])
        scores = outputs[place].astype(np.float64).reshape(len(outputs[place]), -1)
        logits = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
        # exp overflows beyond 700; what is lost there is beyond six digits.
        chances = 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
        return [round(float(chance), _DIGITS) for chance in chances]

    def load_network(self, folder: Path, *, weights: bool = True) -> Network:
        """Load a perceptron from a Hugging Face folder; without weights, build it untrained.

        Raises:
            UsageError: If the folder is no such model, or takes another count of features than its pre-processing or
                the data gives.
        """
        from leptonbench.tasks.mlp import load_scorer

        network = load_scorer(folder, weights=weights)
        size = int(getattr(network.model.config, "input_size", 0))
        if size != self.features.width:
            raise UsageError(
                f"the model in `{folder}` takes rows of another width",
                cause=f"its config says {size}; the data's rows become {self.features.width}",
                hint="the folder's preprocessor_config.json lists the features that the model was trained on",
            )
        return network

    def check_outputs(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Refuse an ONNX file without a score a row: [batch], [batch, 1] or [batch, 2].

        Raises:
            UsageError: Saying what was found.
        """
        _scores_at(shapes)

    def studied(self, split: Split) -> TableSamples:
        """Return what lessons from a split read: of a user's file the whole calibration part."""
        if self._setup.own is not None and split is Split.CALIBRATION:
            return self._table().samples(split, limit=None)
        return self._rows(split)

    def lesson(self, split: Split) -> Lesson:
        """Return batches of a split's rows with their labels."""
        from leptonbench.tasks.tabular_lesson import TabularLesson

        rows = self.studied(split)
        return TabularLesson(self.features.encode(rows.numbers, rows.codes), rows.labels)


def _drawn(features: Features, seed: int, split: Split, *, count: int) -> TableSamples:
    """Draw a split of the workload's own rows, with the columns in the order of the model's features."""
    numbers = {name: place for place, name in enumerate(credit.NUMBERS)}
    kinds = {name: place for place, name in enumerate(credit.CATEGORIES)}
    foreign = [n.name for n in features.numbers if n.name not in numbers]
    foreign += [c.name for c in features.categories if credit.CATEGORIES.get(c.name) != c.values]
    if foreign:
        raise UsageError(
            f"the model takes a feature `{foreign[0]}` that the workload's own data has not",
            cause=f"{len(foreign)} of its {len(features.names)} features are not there, or have other values",
            hint="give your rows as a CSV with `--data`",
        )
    table = credit.generate(seed, split.value, 0, count)
    return TableSamples(
        f"credit-v{credit.GENERATOR_VERSION}-s{seed}-{features.identity}-{split.value}-{count}",
        features,
        numbers=table.numbers[:, [numbers[n.name] for n in features.numbers]],
        codes=table.codes[:, [kinds[c.name] for c in features.categories]],
        labels=table.defaults,
    )


def _scores_at(shapes: Sequence[tuple[int | None, ...]]) -> int:
    """Return which output holds the scores: the first of two columns (classifiers put labels before them), else one.

    Raises:
        UsageError: If none does.
    """
    pairs = [place for place, shape in enumerate(shapes) if len(shape) == 2 and shape[1] == 2]
    singles = [place for place, shape in enumerate(shapes) if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)]
    unstated = [place for place, shape in enumerate(shapes) if len(shape) == 2 and shape[1] is None]
    found = pairs or singles or unstated
    if found:
        return found[0]
    stated = ", ".join(str(["?" if size is None else size for size in shape]) for shape in shapes)
    raise UsageError(
        "the model's outputs hold no score a row",
        cause=f"it gives {stated or 'nothing'}",
        hint="a model that scores rows gives [batch], [batch, 1] or [batch, 2]: a logit or a probability for each",
    )
