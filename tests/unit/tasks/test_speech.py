"""CTC networks: decoding, padding, export with a free length, lessons, and folders of other makers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks.audio_features import LogMel
from leptonbench.tasks.base import Split, TaskSetup, stack
from leptonbench.tasks.ctc import FORCED, CtcForm, Letters, read_form
from leptonbench.tasks.ctc_lesson import CtcLesson, Masking
from leptonbench.tasks.ctc_network import CtcNetwork, load_ctc, relative_shift
from leptonbench.tasks.network import Network
from leptonbench.tasks.speech import SpeechTask
from tests.unit.tasks.speech_factory import make_parakeet, make_wav2vec2

DATA = DataSpec(seed=1, calibration=4, evaluation=4)


@pytest.fixture(scope="module")
def parakeet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parakeet(tmp_path_factory.mktemp("parakeet"))


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.normal(0, 0.1, size).astype(np.float32) for size in (12_000, 19_999, 7000)]


def run(network: Network, arrays: dict[str, np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = network(**{name: torch.from_numpy(a) for name, a in arrays.items()})[0].numpy()
    return result


def test_decoding_merges_repeats_and_drops_blanks() -> None:
    vocabulary = Letters({"<pad>": 0, "|": 1, "a": 2, "b": 3}, delimiter="|", special=frozenset({"<pad>"}))
    form = CtcForm(vocabulary, 0, 4, ((3, 2, 1),))
    paths = [[2, 2, 0, 2, 1, 1, 3, 0], [0] * 8]
    assert form.decode(np.eye(4)[np.array(paths)]) == ["aa b", ""]
    assert vocabulary.ids("aB b?") == [2, 3, 1, 3]


def test_letters_follow_the_vocabularys_case() -> None:
    upper = Letters({"A": 0, "|": 1}, delimiter="|", special=frozenset())
    assert upper.ids("a a") == [0, 1, 0]


def test_subwords_come_back_as_words(parakeet: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        ["stop line four", "pick four bolts"],
        trainers.BpeTrainer(vocab_size=40, special_tokens=["<unk>"], show_progress=False),
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_bytes((parakeet / "config.json").read_bytes())
    vocabulary = read_form(tmp_path).vocabulary
    assert vocabulary.text(vocabulary.ids("stop four bolts")) == "stop four bolts"
    assert vocabulary.text(vocabulary.ids("stop ! four")).replace(" ", "") == "stopfour"


def test_the_network_gives_transformers_numbers(parakeet: Path, waves: list[np.ndarray]) -> None:
    from transformers import ParakeetForCTC

    theirs = ParakeetForCTC.from_pretrained(parakeet, attn_implementation="eager").eval()
    network = load_ctc(parakeet, read_form(parakeet))
    inputs = LogMel()(waves[0])
    with torch.no_grad():
        expected = theirs(
            input_features=torch.from_numpy(inputs["input_features"]),
            attention_mask=torch.from_numpy(inputs["attention_mask"]).bool(),
        ).logits.numpy()
    assert np.ptp(expected) > 0.1  # not a constant, which anything would reproduce
    np.testing.assert_array_equal(run(network, inputs), expected)


def test_relative_shift_equals_the_original() -> None:
    from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderAttention

    original: Any = ParakeetEncoderAttention._rel_shift
    for queries in (1, 2, 7, 33):
        scores = torch.randn(2, 3, queries, 2 * queries - 1)
        torch.testing.assert_close(relative_shift(scores), original(None, scores), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["Parakeet", "Wav2Vec2", "Hubert"])
def test_padding_changes_no_answer(kind: str, parakeet: Path, waves: list[np.ndarray], tmp_path: Path) -> None:
    folder = parakeet if kind == "Parakeet" else make_wav2vec2(tmp_path, kind, "layer")
    task = SpeechTask(TaskSetup(model_dir=folder, data=DATA))
    network = task.load_network(folder)
    encoded = [task._front(wave) for wave in waves]
    together = run(network, stack(encoded))
    form = read_form(folder)
    for row, arrays in enumerate(encoded):
        alone = run(network, arrays)[0]
        frames = int(form.frames(arrays["attention_mask"].sum()))
        assert frames == len(alone)
        np.testing.assert_allclose(together[row, :frames], alone, atol=2e-4)
        assert (np.delete(together[row, frames:], form.blank, axis=1) == FORCED).all()
        assert task.decode([together[row : row + 1]]) == task.decode([alone[None]])


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_raw_wave_folders_of_other_makers_run(norm: str, waves: list[np.ndarray], tmp_path: Path) -> None:
    folder = make_wav2vec2(tmp_path, "Wav2Vec2", norm)
    task = SpeechTask(TaskSetup(model_dir=folder, data=DATA))
    answers = task.decode([run(task.load_network(folder), task._front(wave)) for wave in waves[:1]])
    assert len(answers) == 1
    assert isinstance(answers[0], str)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Parakeet", "Wav2Vec2"])
def test_exports_with_a_free_length(kind: str, parakeet: Path, waves: list[np.ndarray], tmp_path: Path) -> None:
    import onnxruntime

    from leptonbench.compression.export import export_onnx, export_program

    folder = parakeet if kind == "Parakeet" else make_wav2vec2(tmp_path, kind, "layer")
    task = SpeechTask(TaskSetup(model_dir=folder, data=DATA))
    network = task.load_network(folder)
    encoded = [task._front(wave) for wave in waves]
    export_program(network, encoded[0], path=tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    export_onnx(network, encoded[0], path=tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for batch in (*encoded, stack(encoded), task._front(waves[0][:900])):
        expected = run(network, batch)
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        np.testing.assert_allclose(program(**tensors)[0].detach().numpy(), expected, atol=1e-3)
        np.testing.assert_allclose(session.run(None, batch)[0], expected, atol=1e-3)


def lesson_for(folder: Path, texts: list[str], waves: list[np.ndarray], **options: Any) -> CtcLesson:
    return CtcLesson(
        lambda index: LogMel()(waves[index]),
        texts,
        [len(wave) / 16_000 for wave in waves],
        form=read_form(folder),
        **options,
    )


def test_lessons_cover_each_usable_utterance_once_an_epoch(parakeet: Path, waves: list[np.ndarray]) -> None:
    texts = ["a"] * 40 + ["7"]  # the vocabulary has no digit
    lesson = lesson_for(parakeet, texts, [waves[index % 3] for index in range(41)], batch=4)
    chosen = np.concatenate(lesson.epoch(np.random.default_rng(0)))
    assert sorted(chosen.tolist()) == list(range(40))
    first, again, other = (next(lesson.batches(seed)).inputs["input_features"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("text", ["стоп", "стоп линия"])  # a space alone is in the vocabulary, and no lesson
def test_texts_in_other_letters_are_refused_before_training(parakeet: Path, waves: list[np.ndarray], text: str) -> None:
    with pytest.raises(UsageError, match="cannot learn from the recordings") as caught:
        lesson_for(parakeet, [text] * 3, waves)
    assert f"{text!r}; it knows a b c" in caught.value.cause
    assert caught.value.hint


def test_masking_zeroes_stretches_and_leaves_the_sample_alone(waves: list[np.ndarray]) -> None:
    sample = LogMel()(waves[0])
    before = copy.deepcopy(sample)
    masked = Masking(bands=1, times=1)(sample, np.random.default_rng(5))
    np.testing.assert_array_equal(sample["input_features"], before["input_features"])
    changed = masked["input_features"] != sample["input_features"]
    assert changed.any()
    assert not masked["input_features"][changed].any()


def test_the_ctc_loss_ignores_padding(parakeet: Path, waves: list[np.ndarray]) -> None:
    still = Masking(bands=0, times=0)
    lesson = lesson_for(parakeet, ["ab", "stop", "c"], waves, masking=still)
    network = load_ctc(parakeet, read_form(parakeet))
    rng = np.random.default_rng(0)
    losses = []
    for chosen in ([0], [1], [2], [0, 1, 2]):
        batch = lesson.collate(np.array(chosen), rng)
        losses.append(float(lesson.loss(network(**batch.inputs), batch)))
    assert losses[3] == pytest.approx(np.mean(losses[:3]), rel=1e-3)


def test_training_on_lessons_lowers_the_loss(parakeet: Path, waves: list[np.ndarray]) -> None:
    lesson = lesson_for(parakeet, ["ab", "stop", "c"], waves, masking=Masking(bands=0, times=0))
    network = load_ctc(parakeet, read_form(parakeet)).requires_grad_(True).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _, batch in zip(range(30), lesson.batches(0), strict=False):
        loss = lesson.loss(network(**batch.inputs), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def test_distance_is_zero_to_itself_and_blind_to_padding(parakeet: Path, waves: list[np.ndarray]) -> None:
    lesson = lesson_for(parakeet, ["ab", "stop", "c"], waves, masking=Masking(bands=0, times=0))
    network = load_ctc(parakeet, read_form(parakeet))
    batch = lesson.collate(np.array([0, 1, 2]), np.random.default_rng(0))
    teacher = network(**batch.inputs)
    assert float(lesson.distance(teacher, teacher, temperature=2.0)) == pytest.approx(0, abs=1e-6)
    frames = batch.targets["frames"]
    real, padded = teacher[0].clone(), teacher[0].clone()
    for row, count in enumerate(frames):
        real[row, :count, 5] += 1
        padded[row, count:, 5] += 1
    assert float(lesson.distance((real,), teacher, temperature=2.0)) > 1e-3
    assert float(lesson.distance((padded,), teacher, temperature=2.0)) == pytest.approx(0, abs=1e-6)


def test_distance_is_the_softened_divergence() -> None:
    form = CtcForm(Letters({"a": 1}, delimiter="|", special=frozenset()), 0, 3, ())
    lesson = CtcLesson(lambda index: {}, ["a"], [1.0], form=form)
    student, teacher = torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[[0.0, 2.0, 4.0]]])
    p, q = (torch.softmax(t[0, 0] / 2, 0) for t in (teacher, student))
    expected = float((p * (p / q).log()).sum()) * 4
    assert float(lesson.distance((student,), (teacher,), temperature=2.0)) == pytest.approx(expected, rel=1e-5)


def test_networks_copy_and_keep_the_models_weights_only(parakeet: Path) -> None:
    network = load_ctc(parakeet, read_form(parakeet))
    twin = copy.deepcopy(network)
    assert set(twin.state_dict()) == {f"model.{name}" for name in twin.model.state_dict()}
    untrained = load_ctc(parakeet, read_form(parakeet), weights=False)
    assert isinstance(untrained, CtcNetwork)
    key = "model.ctc_head.weight"
    assert not torch.equal(untrained.state_dict()[key], network.state_dict()[key])


def write_manifest(folder: Path, rate_hz: int = 16_000) -> Path:
    lines = []
    for index in range(10):
        wave = np.random.default_rng(index).normal(0, 0.1, rate_hz // 2).astype(np.float32)
        soundfile.write(folder / f"{index}.wav", wave, rate_hz)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": "stop line four"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def test_a_users_recordings_are_resampled_for_the_model(parakeet: Path, tmp_path: Path) -> None:
    own = write_manifest(tmp_path, rate_hz=8000)
    task = SpeechTask(TaskSetup(model_dir=parakeet, data=DATA, own=own))
    samples = task.samples(Split.EVALUATION)
    assert len(samples) == 4
    assert task.encode(samples.raw(0))["attention_mask"].sum() == 50
    assert "8000 Hz" in getattr(samples, "notices")[0]  # noqa: B009 - not part of the contract yet
    batch = next(task.lesson(Split.CALIBRATION).batches(0))
    assert batch.targets["label_lengths"].tolist() == [14, 14]


def test_training_audio_that_is_not_made_says_how(
    parakeet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path))
    task = SpeechTask(TaskSetup(model_dir=parakeet, data=DATA))
    with pytest.raises(PrerequisiteError, match="training audio") as caught:
        task.lesson(Split.TRAIN)
    assert "make_data.py train" in caught.value.hint


def test_outputs_that_are_no_logits_over_the_vocabulary_are_refused(parakeet: Path) -> None:
    task = SpeechTask(TaskSetup(model_dir=parakeet, data=DATA))
    task.check_outputs([(None, None, 31)])
    task.check_outputs([(None, None, None)])
    for shapes in ([(None, 31)], [(None, None, 1000)], []):
        with pytest.raises(UsageError, match="cannot read the model's outputs") as caught:
            task.check_outputs(shapes)
        assert "batch x frames x 31" in caught.value.cause


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("config.json", "{", "is not JSON"),
        ("config.json", "[]", "is not a JSON object"),
        ("config.json", '{"model_type": "bert", "pad_token_id": 0}', "cannot tell how the model"),
        ("config.json", '{"model_type": "bert"}', "CTC blank"),
        ("vocab.json", '{"eng": {"a": 0}}', "does not map tokens to ids"),
        ("vocab.json", None, "cannot be read"),
        ("tokenizer.json", "{}", "is no tokenizer"),
    ],
)
def test_damaged_folders_are_refused(parakeet: Path, tmp_path: Path, name: str, content: str | None, what: str) -> None:
    for file in parakeet.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=what) as caught:
        read_form(tmp_path)
    assert caught.value.hint


def test_folders_without_a_ctc_head_are_refused(parakeet: Path, tmp_path: Path) -> None:
    for file in parakeet.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="cannot load") as caught:
        SpeechTask(TaskSetup(model_dir=tmp_path, data=DATA)).load_network(tmp_path)
    assert caught.value.hint


def test_an_onnx_files_folder_is_not_made_up_for_by_the_workloads_model(parakeet: Path, tmp_path: Path) -> None:
    """Another model's vocabulary would spell other words."""
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "model").symlink_to(parakeet)
    (tmp_path / "bare").mkdir()
    setup = TaskSetup(tmp_path / "bare", DATA, workload_dir=tmp_path / "workload")
    with pytest.raises(UsageError, match="does not say how it hears") as caught:
        SpeechTask(setup)
    assert "its ONNX file lies in" in caught.value.hint


def test_a_task_without_a_folder_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="needs a model's folder"):
        SpeechTask(TaskSetup(model_dir=None, data=DATA))
