"""The greedy loop over two graphs says what `generate` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leptonbench.errors import NotApplicable, UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks.base import Split, TaskSetup
from leptonbench.tasks.seq2seq import Seq2SeqForm, is_seq2seq, read_seq2seq, transcribe
from leptonbench.tasks.speech import SpeechTask
from tests.unit.tasks.speech_factory import SIZE, make_whisper


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, (5, 80, 100)).astype(np.float32)


def call(network: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in network(**{name: torch.from_numpy(a) for name, a in inputs.items()})]


def drive(folder: Path, features: np.ndarray) -> tuple[SpeechTask, np.ndarray]:
    """Return the task and the tokens of its loop over the two networks."""
    task = SpeechTask(TaskSetup(model_dir=folder, data=DataSpec(seed=1, calibration=1, evaluation=1)))
    encoder = task.load_network(folder)
    run = task.couple(lambda inputs: call(encoder, inputs), lambda inputs: call(encoder.follower, inputs))
    return task, run({"input_features": features})[0]


def generated(folder: Path, features: np.ndarray) -> list[list[int]]:
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    rows = model.generate(torch.from_numpy(features), num_beams=1, do_sample=False)
    return [row.tolist() for row in rows]


NO_TIMES = SIZE - 1  # the last id: an untrained model that emitted times would send `generate` round for ever
LANGUAGES = {"<|en|>": 50, "<|de|>": 51, "<|zh|>": 52}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"no_timestamps_token_id": NO_TIMES},
        {"suppress_tokens": [3, 9, 21, 30, 41], "begin_suppress_tokens": [2, 17, 28]},
        {"lang_to_id": LANGUAGES, "task_to_id": {"transcribe": 53, "translate": 54}, "is_multilingual": True},
        {
            "lang_to_id": LANGUAGES,
            "task_to_id": {"transcribe": 53, "translate": 54},
            "is_multilingual": True,
            "language": "en",
            "no_timestamps_token_id": NO_TIMES,
        },
        {"forced_decoder_ids": [[1, 50], [2, 53]], "no_timestamps_token_id": NO_TIMES},
    ],
    ids=["plain", "no-times", "suppressed", "detected", "english", "forced"],
)
def test_the_loop_equals_generate(tmp_path: Path, features: np.ndarray, settings: dict[str, Any]) -> None:
    folder = make_whisper(tmp_path / "a", **settings)
    form, _ = read_seq2seq(folder)
    # Random weights hardly ever end: make a token that one row comes to say the end, so that rows end apart.
    end = int(drive(folder, features)[1][0, len(form.prompt) + 3])
    folder = make_whisper(tmp_path / "b", **settings, eos_token_id=end)
    form, vocabulary = read_seq2seq(folder)
    task, ours = drive(folder, features)
    assert (ours == end).any()
    for row, expected in zip(ours, generated(folder, features), strict=True):
        # transformers returns or leaves out the prompt by version; what follows it is compared.
        said, bare = form.words(row), [token for token in expected if token not in (form.end, form.pad)]
        assert said in (form.words(np.array(expected)), bare)
        assert task.decode([row[None]]) == [vocabulary.text(said)]


def test_rows_end_on_their_own_and_length_is_bounded() -> None:
    form = Seq2SeqForm(prompt=(1,), languages=(), end=2, pad=0, longest=6)

    def decode(tokens: np.ndarray, states: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(tokens), 5))
        logits[:, 3] = 1
        logits[0, 2] = 2 * (tokens.shape[1] == 3)
        return logits

    tokens = transcribe(np.zeros((2, 1)), decode, form)
    assert tokens.tolist() == [[1, 3, 3, 2, 0, 0], [1, 3, 3, 3, 3, 3]]
    assert form.words(tokens[0]) == [3, 3]


def test_tokens_of_time_are_no_words() -> None:
    form = Seq2SeqForm(prompt=(1, 55), languages=(), end=2, pad=0, longest=9, first_timestamp=56)
    assert form.words(np.array([1, 55, 4, 57, 5, 2])) == [4, 5]


@pytest.mark.slow
def test_both_graphs_export_with_free_length(tmp_path: Path, features: np.ndarray) -> None:
    import onnxruntime

    from leptonbench.compression.export import export_onnx, export_program

    folder = make_whisper(tmp_path)
    task, expected = drive(folder, features)
    encoder = task.load_network(folder)
    states = call(encoder, {"input_features": features})[0]
    samples = (
        {"input_features": features[:1]},
        {"decoder_input_ids": np.arange(3, 8, dtype=np.int64)[None], "encoder_hidden_states": states[:1]},
    )
    for index, (network, sample) in enumerate(zip((encoder, encoder.follower), samples, strict=True)):
        assert network is not None
        export_program(network, sample, path=tmp_path / f"{index}.pt2")
        export_onnx(network, sample, path=tmp_path / f"{index}.onnx")
    graphs = [onnxruntime.InferenceSession(str(tmp_path / f"{i}.onnx")) for i in range(2)]
    programs = [torch.export.load(tmp_path / f"{i}.pt2").module() for i in range(2)]
    for run in (
        task.couple(lambda inputs: graphs[0].run(None, inputs), lambda inputs: graphs[1].run(None, inputs)),
        task.couple(lambda inputs: call(programs[0], inputs), lambda inputs: call(programs[1], inputs)),
    ):
        np.testing.assert_array_equal(run({"input_features": features})[0], expected)


def test_what_needs_one_graph_is_refused(tmp_path: Path, features: np.ndarray) -> None:
    task, _ = drive(make_whisper(tmp_path), features)
    with pytest.raises(UsageError, match="from its folder"):
        task.check_outputs([(None, None, SIZE)])
    with pytest.raises(NotApplicable, match="no lessons"):
        task.lesson(Split.TRAIN)


def test_other_encoder_decoders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "speech_to_text", "is_encoder_decoder": True}))
    assert is_seq2seq(tmp_path)
    with pytest.raises(UsageError, match="cannot drive") as caught:
        read_seq2seq(tmp_path)
    assert "speech_to_text" in caught.value.cause


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    folder = make_whisper(tmp_path, lang_to_id=LANGUAGES, language="tlh")
    with pytest.raises(UsageError, match="does not know the language"):
        read_seq2seq(folder)
