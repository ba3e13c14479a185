"""Word accuracy: one less the word error rate over a whole split, with bootstrap intervals over utterances.

Not clipped: a model that inserts more words than were said scores below zero, which is worse than saying nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.interval import Interval
from leptonbench.stats.proportion import wilson

NAME = "1-WER"
CONFIDENCE = 0.95
RESAMPLES = 2000  # the ends of a 95 % interval then rest on fifty resamples each
_SEED = 2026  # the same answers get the same interval
_CHUNK = 1 << 21  # indices drawn at a time, so that long corpora fit in memory


class Counts(NamedTuple):
    """Word errors and reference words of each utterance."""

    errors: NDArray[np.int64]
    words: NDArray[np.int64]


def normalise(text: str) -> str:
    """Return the words that are scored: lower case, one space between, no punctuation but apostrophes inside words.

    References of users are written with capitals and stops that many models do not emit; they are not what is measured.
    """
    kept = []
    for letter in unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower():
        if letter == "'" or not unicodedata.category(letter).startswith(("P", "S")):
            kept.append(letter)
        else:
            kept.append(" ")
    words = (word.strip("'") for word in "".join(kept).split())
    return " ".join(word for word in words if word)


def count_errors(answers: Sequence[str], targets: Sequence[str]) -> Counts:
    """Align each answer with its target and count substitutions, deletions and insertions.

    Raises:
        ValueError: If there are not as many answers as targets, or no target has a word.
    """
    import jiwer

    errors, words = [], []
    for answer, target in zip(answers, targets, strict=True):
        said, heard = normalise(target), normalise(answer)
        words.append(len(said.split()))
        if not said:  # the reference implementation refuses an empty reference
            errors.append(len(heard.split()))
            continue
        aligned = jiwer.process_words(said, heard)
        errors.append(aligned.substitutions + aligned.deletions + aligned.insertions)
    counts = Counts(np.array(errors, dtype=np.int64), np.array(words, dtype=np.int64))
    if not counts.words.sum():
        raise ValueError("no target has a word, so there is no word error rate")
    return counts


class WordAccuracy:
    """See `leptonbench.tasks.base.Metric`. Answers and targets are text."""

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Return one less the word error rate, with its interval."""
        counts = count_errors(answers, targets)
        wrong, said, n = int(counts.errors.sum()), int(counts.words.sum()), len(targets)
        if wrong:
            low, high = _ends(-counts.errors, counts.words, add=1.0)
            how = f"bootstrap interval over {n} utterances"
        else:
            # Resampling cannot see errors that were not made; the share of faultless utterances bounds them.
            low, high = wilson(n, n).low or 0.0, 1.0
            how = f"Wilson interval of the share of {n} utterances without an error"
        return Quantity(
            value=1 - wrong / said,
            unit="1",
            low=low,
            high=high,
            n=n,
            confidence=CONFIDENCE,
            provenance=Provenance.MEASURED,
            name=NAME,
            method=f"{wrong} errors in {said} words, jiwer, case and punctuation ignored; {how}",
        )

    def difference(self, answers: Sequence[Any], base: Sequence[Any], targets: Sequence[Any]) -> Interval:
        """Return the change from `base` to `answers`, resampling utterances with both their answers."""
        mine, other = count_errors(answers, targets), count_errors(base, targets)
        fewer = other.errors - mine.errors
        low, high = _ends(fewer, mine.words)
        return Interval(
            value=float(fewer.sum() / mine.words.sum()),
            low=low,
            high=high,
            n=len(targets),
            confidence=CONFIDENCE,
            method=f"paired bootstrap over {len(targets)} utterances",
        )

    def same(self, one: Any, other: Any) -> bool:
        """Say whether two transcripts are equal."""
        return bool(one == other)


def _ends(parts: NDArray[np.int64], words: NDArray[np.int64], *, add: float = 0.0) -> tuple[float, float]:
    """Return the percentile interval of `add` + sum of parts / sum of words over resampled utterances."""
    rng = np.random.default_rng(_SEED)
    count, rates = len(parts), np.empty(RESAMPLES)
    rows = max(1, _CHUNK // count)
    for start in range(0, RESAMPLES, rows):
        chosen = rng.integers(count, size=(min(rows, RESAMPLES - start), count))
        said = words[chosen].sum(axis=1)
        # A resample of wordless utterances alone has no rate; at most it repeats the whole.
        said = np.where(said > 0, said, words.sum())
        rates[start : start + len(chosen)] = add + parts[chosen].sum(axis=1) / said
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
