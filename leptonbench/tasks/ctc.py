"""CTC without a framework: the vocabulary of a model folder, frames after subsampling, greedy decoding."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError

FORCED = -100.0
"""Logit of every token but the blank on padded frames: no chance in any number format."""


class Vocabulary(Protocol):
    """Maps between text and token ids."""

    def text(self, ids: list[int]) -> str:
        """Return what ids without blanks and repeats stand for."""

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, without those the model does not know."""


class Subword:
    """The vocabulary of a `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        # Padding and truncation are for batches of text; here a text is itself.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = self._tokenizer.token_to_id("<unk>")

    def text(self, ids: list[int]) -> str:
        """Return what ids stand for; special tokens are left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, without those the model does not know."""
        return [i for i in self._tokenizer.encode(text, add_special_tokens=False).ids if i != self._unknown]


class Letters:
    """The vocabulary of a `vocab.json` of letters (`Wav2Vec2CTCTokenizer`).

    Args:
        tokens: Token to id.
        delimiter: The token between words.
        special: Tokens that stand for no text.
    """

    def __init__(self, tokens: dict[str, int], *, delimiter: str, special: frozenset[str]) -> None:
        self._ids = {token: index for token, index in tokens.items() if token not in special}
        self._tokens = {index: token for token, index in self._ids.items()}
        self._delimiter = delimiter
        letters = [token for token in self._ids if token != delimiter]
        self._upper = any(t.isupper() for t in letters) and not any(t.islower() for t in letters)
        self._lower = any(t.islower() for t in letters) and not any(t.isupper() for t in letters)

    def text(self, ids: list[int]) -> str:
        """Return what ids stand for; special tokens are left out."""
        joined = "".join(self._tokens.get(index, "") for index in ids)
        return " ".join(joined.replace(self._delimiter, " ").split())

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text in the vocabulary's case, without letters it does not know."""
        text = text.upper() if self._upper else text.lower() if self._lower else text
        spelt = self._delimiter.join(text.split()) if self._delimiter in self._ids else text
        return [self._ids[letter] for letter in spelt if letter in self._ids]


@dataclass(frozen=True, slots=True)
class CtcForm:
    """What a model folder says of its output.

    Attributes:
        vocabulary: Text to ids and back.
        blank: Id of the blank.
        size: How many logits a frame has.
        strides: Kernel, stride and padding of each convolution that shortens time.
    """

    vocabulary: Vocabulary
    blank: int
    size: int
    strides: tuple[tuple[int, int, int], ...]

    def frames(self, lengths: Any) -> Any:
        """Return how many frames come out for so many in; integers, arrays or tensors of integers."""
        for kernel, stride, padding in self.strides:
            lengths = (lengths + (2 * padding - kernel)) // stride + 1
        return lengths

    def decode(self, logits: NDArray[Any]) -> list[str]:
        """Return each row's transcript, from logits [batch, frames, size]: best tokens, less repeats and blanks."""
        best = np.asarray(logits).argmax(axis=-1)
        return [
            self.vocabulary.text([int(token) for token, _ in groupby(row.tolist()) if token != self.blank])
            for row in best
        ]


def read_form(folder: Path) -> CtcForm:
    """Read vocabulary, blank and subsampling of a CTC model's folder.

    Raises:
        UsageError: If a file is missing, damaged or of an architecture not known here.
    """
    config = read_json(folder / "config.json", what="a Hugging Face model folder has it")
    blank = config.get("pad_token_id")
    if blank is None:
        raise UsageError(
            f"the model in `{folder}` does not say which token is the CTC blank",
            cause=f"{folder / 'config.json'} has no pad_token_id, which stands for it in transformers",
            hint="set pad_token_id to the blank's id",
        )
    return CtcForm(_vocabulary(folder), int(blank), int(config.get("vocab_size", 0)), _strides(folder, config))


def read_json(path: Path, *, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UsageError: If it is missing or damaged; `what` is the hint.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", cause=error.strerror or str(error), hint=what) from error
    except ValueError as error:
        raise UsageError(f"`{path}` is not JSON", cause=str(error), hint="save the model again") from error
    if not isinstance(content, dict):
        raise UsageError(f"`{path}` is not a JSON object", hint="save the model again")
    return content


def _vocabulary(folder: Path) -> Vocabulary:
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            return Subword(path)
        except Exception as error:  # the tokenizers library raises bare Exception
            raise UsageError(f"`{path}` is no tokenizer", cause=str(error), hint="save the tokenizer again") from error
    tokens = read_json(folder / "vocab.json", what="a CTC folder has tokenizer.json or vocab.json")
    if not tokens or not all(isinstance(index, int) for index in tokens.values()):
        raise UsageError(
            f"`{folder / 'vocab.json'}` does not map tokens to ids",
            cause="a vocabulary of several languages holds one map a language",
            hint="save the tokenizer with one target language",
        )
    settings: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        settings = read_json(folder / "tokenizer_config.json", what="")
    names = (("pad_token", "<pad>"), ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"))
    special = frozenset(_name(settings.get(key, default)) for key, default in names)
    return Letters(tokens, delimiter=str(settings.get("word_delimiter_token") or "|"), special=special)


def _name(token: Any) -> str:
    """Return a special token's text from either form that transformers writes."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _strides(folder: Path, config: dict[str, Any]) -> tuple[tuple[int, int, int], ...]:
    encoder = config.get("encoder_config") or {}
    if "subsampling_factor" in encoder:
        kernel, stride = int(encoder.get("subsampling_conv_kernel_size", 3)), encoder.get("subsampling_conv_stride", 2)
        layers = int(encoder["subsampling_factor"]).bit_length() - 1
        return ((kernel, int(stride), (kernel - 1) // 2),) * layers
    if "conv_kernel" in config and "conv_stride" in config:
        layers_ = tuple((int(k), int(s), 0) for k, s in zip(config["conv_kernel"], config["conv_stride"], strict=True))
        if config.get("add_adapter"):
            adapter = (int(config["adapter_kernel_size"]), int(config["adapter_stride"]), 1)
            layers_ += (adapter,) * int(config["num_adapter_layers"])
        return layers_
    raise UsageError(
        f"the speech task cannot tell how the model in `{folder}` shortens time",
        cause=f"architecture {config.get('architectures')}: neither subsampling_factor nor conv_stride in config.json",
        hint="Parakeet, Wav2Vec2, HuBERT and their relatives with a CTC head are read",
    )
