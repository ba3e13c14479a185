"""Greedy transcription by an encoder and a decoder, each a graph of its own, driven from outside.

An engine runs one graph a session. So the encoder runs once an utterance, and the decoder once a token over all tokens
so far: without a cache, which a fixed graph would have to carry in and out, a step costs what the whole prefix costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks.ctc import Subword, Vocabulary, read_json

Ids = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Seq2SeqForm:
    """What a Whisper folder says of its tokens.

    Attributes:
        prompt: Tokens that every transcript starts with.
        languages: Token ids of the languages; where any, the likeliest after the first token of the prompt becomes the
            second.
        end: The token that ends a transcript.
        pad: What fills up rows that have ended.
        longest: Tokens of a transcript at most, the prompt counted in.
        suppressed: Tokens never emitted.
        suppressed_first: Tokens not emitted right after the prompt.
        first_timestamp: Ids from here on are times and no text; `None` where the model has none.
    """

    prompt: tuple[int, ...]
    languages: tuple[int, ...]
    end: int
    pad: int
    longest: int
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    first_timestamp: int | None = None

    def words(self, row: Ids) -> list[int]:
        """Return the tokens of a transcript that stand for text: none of the prompt, the end, the times."""
        stop = self.first_timestamp if self.first_timestamp is not None else np.inf
        start = len(self.prompt) + bool(self.languages)
        return [int(token) for token in row[start:] if token not in (self.end, self.pad) and token < stop]


Decode = Callable[[Ids, Floats], Floats]
"""Takes tokens [batch, length] and the encoder's states; returns the logits of the next token [batch, vocabulary]."""


def transcribe(states: Floats, decode: Decode, form: Seq2SeqForm) -> Ids:
    """Return the likeliest token at each step until all rows have ended, as `generate(num_beams=1, do_sample=False)`.

    Args:
        states: What the encoder gave, batch first.
        decode: Runs the decoder.
        form: Of the model.

    Returns:
        Prompt and tokens [batch, length]; rows that end early are padded.
    """
    tokens = _opening(states, decode, form)
    begin, running = tokens.shape[1], np.ones(len(states), dtype=bool)
    while running.any() and tokens.shape[1] < form.longest:
        logits = np.array(decode(tokens, states), dtype=np.float32)
        logits[:, list(form.suppressed)] = -np.inf
        if tokens.shape[1] == begin:
            logits[:, list(form.suppressed_first)] = -np.inf
        best = np.where(running, logits.argmax(axis=-1), form.pad)
        tokens = np.concatenate([tokens, best[:, None]], axis=1)
        running &= best != form.end
    return tokens


def _opening(states: Floats, decode: Decode, form: Seq2SeqForm) -> Ids:
    """Return the prompt of each row, its language recognised where the model knows several."""
    rows = len(states)
    prompt = np.tile(np.array(form.prompt, dtype=np.int64), (rows, 1))
    if not form.languages:
        return prompt
    logits = np.asarray(decode(prompt[:, :1], states))
    languages = np.array(form.languages, dtype=np.int64)
    spoken = languages[logits[:, languages].argmax(axis=-1)]
    return np.concatenate([prompt[:, :1], spoken[:, None], prompt[:, 1:]], axis=1)


def is_seq2seq(folder: Path) -> bool:
    """Say whether a folder's model has an encoder and a decoder."""
    config = read_json(folder / "config.json", what="a Hugging Face model folder has it")
    return bool(config.get("is_encoder_decoder"))


def read_seq2seq(folder: Path) -> tuple[Seq2SeqForm, Vocabulary]:
    """Read the tokens of a Whisper folder.

    Raises:
        UsageError: If it is no Whisper, or a file is missing or damaged.
    """
    config = read_json(folder / "config.json", what="a Hugging Face model folder has it")
    if config.get("model_type") != "whisper":
        raise UsageError(
            f"the speech task cannot drive the model in `{folder}`",
            cause=f"it is an encoder-decoder of type {config.get('model_type')!r}",
            hint="of encoder-decoders, Whisper is known; of CTC models, Parakeet, Wav2Vec2, HuBERT and their relatives",
        )
    settings = dict(config)
    if (folder / "generation_config.json").is_file():
        settings |= read_json(folder / "generation_config.json", what="")
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"the model in `{folder}` has no tokenizer.json",
            hint="save its fast tokenizer into the folder: `WhisperTokenizerFast.from_pretrained(...)`",
        )
    return _form(settings, config), Subword(folder / "tokenizer.json")


def _form(settings: dict[str, Any], config: dict[str, Any]) -> Seq2SeqForm:
    prompt, detect = _prompt(settings)
    last = settings.get("no_timestamps_token_id")
    if last is not None and prompt[-1] != last:
        prompt.append(int(last))
    ends = settings["eos_token_id"]
    return Seq2SeqForm(
        prompt=tuple(prompt),
        languages=tuple((settings.get("lang_to_id") or {}).values()) if detect else (),
        end=int(ends[0] if isinstance(ends, list) else ends),
        pad=int(settings["pad_token_id"]),
        longest=min(int(settings.get("max_length") or 448), int(config.get("max_target_positions", 448))),
        suppressed=tuple(settings.get("suppress_tokens") or ()),
        suppressed_first=tuple(settings.get("begin_suppress_tokens") or ()),
        first_timestamp=None if last is None else int(last) + 1,
    )


def _prompt(settings: dict[str, Any]) -> tuple[list[int], bool]:
    """Return the prompt without the mark for no timestamps, and whether the language is to be recognised."""
    prompt = [int(settings["decoder_start_token_id"])]
    language, task = settings.get("language"), settings.get("task")
    tasks = settings.get("task_to_id") or {}
    detect = bool(settings.get("lang_to_id"))
    if language is None and task is None:
        # Older checkpoints state their prompt by position; a position without a token is the language.
        forced = [token for _, token in settings.get("forced_decoder_ids") or ()]
        if forced and forced[0] is not None:
            detect = False
        return prompt + [int(token) for token in forced if token is not None], detect
    if language is not None:
        code = str(language).lower()
        code = code if code in settings["lang_to_id"] else f"<|{code}|>"
        if code not in settings["lang_to_id"]:
            raise UsageError(
                f"the model does not know the language {language!r}",
                cause="generation_config.json: language",
                hint="state one of lang_to_id's codes, such as `en`",
            )
        prompt.append(int(settings["lang_to_id"][code]))
        detect = False
    if tasks:
        prompt.append(int(tasks[task or "transcribe"]))
    return prompt, detect
