"""Manifests: how they are read, divided and refused; and the training audio in the cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leptonbench.errors import PrerequisiteError, StorageError, UsageError
from leptonbench.tasks.audio_corpus import SpeechManifest
from leptonbench.tasks.audio_packed import PackedSpeech, PackedWriter
from leptonbench.tasks.base import Split


def record(path: Path, *, seconds: float = 0.2, rate_hz: int = 16_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(path.stem.encode()[-4:], "little")
    wave = np.random.default_rng(seed).normal(0, 0.1, (int(seconds * rate_hz), channels))
    soundfile.write(path, wave.astype(np.float32), rate_hz)


def manifest(folder: Path, count: int, name: str = "manifest.jsonl") -> Path:
    lines = []
    for index in range(count):
        record(folder / "clips" / f"{index}.wav")
        lines.append(json.dumps({"audio": f"clips/{index}.wav", "text": f"take {index}"}))
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def read(path: Path, split: Split = Split.EVALUATION, limit: int = 1000) -> SpeechManifest:
    return SpeechManifest(path, split, limit=limit, rate_hz=16_000)


@pytest.mark.parametrize("as_folder", [True, False])
def test_one_manifest_is_divided_without_overlap(tmp_path: Path, as_folder: bool) -> None:
    path = manifest(tmp_path, 11)
    source = tmp_path if as_folder else path
    parts = [read(source, split) for split in (Split.CALIBRATION, Split.EVALUATION)]
    texts = [{part.target(i) for i in range(len(part))} for part in parts]
    assert [len(t) for t in texts] == [2, 9]
    assert not texts[0] & texts[1]
    assert parts[0].identity != parts[1].identity


def test_recordings_may_lie_anywhere(tmp_path: Path) -> None:
    """Absolute paths, as some tools write them, and paths out of the manifest's folder."""
    lines = []
    for index in range(6):
        record(tmp_path / "audio" / f"{index}.wav")
        name = str(tmp_path / "audio" / f"{index}.wav") if index % 2 else f"../audio/{index}.wav"
        lines.append(json.dumps({"audio": name, "text": f"take {index}"}))
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n")
    parts = [read(path, split) for split in (Split.CALIBRATION, Split.EVALUATION)]
    texts = sorted(part.target(i) for part in parts for i in range(len(part)))
    assert texts == [f"take {index}" for index in range(6)]


def test_a_folder_with_both_manifests_is_not_divided(tmp_path: Path) -> None:
    manifest(tmp_path, 3, "calibration.jsonl")
    manifest(tmp_path, 5, "test.jsonl")
    assert len(read(tmp_path, Split.CALIBRATION)) == 3
    assert len(read(tmp_path, Split.EVALUATION)) == 5


def test_samples_give_wave_text_and_duration(tmp_path: Path) -> None:
    samples = read(manifest(tmp_path, 5), limit=2)
    assert len(samples) == 2
    index = int(samples.target(0).split()[1])
    expected, _ = soundfile.read(tmp_path / "clips" / f"{index}.wav", dtype="float32")
    np.testing.assert_array_equal(samples.raw(0).wave, expected)
    assert samples.duration_s(0) == pytest.approx(0.2)


def test_identity_follows_texts_and_audio(tmp_path: Path) -> None:
    path = manifest(tmp_path, 4)
    before = read(path).identity
    assert read(path).identity == before
    record(tmp_path / "clips" / "new.wav")
    for clip in (tmp_path / "clips").glob("?.wav"):
        clip.write_bytes((tmp_path / "clips" / "new.wav").read_bytes())
    assert read(path).identity != before


def test_resampling_and_mixing_are_said(tmp_path: Path) -> None:
    path = manifest(tmp_path, 4)
    assert read(path, Split.CALIBRATION).notices == ()
    for index in range(4):
        record(tmp_path / "clips" / f"{index}.wav", rate_hz=8000, channels=2)
    resampled, mixed = read(path).notices
    assert resampled == "3 of 3 recordings are resampled from 8000 Hz to the model's 16000 Hz"
    assert mixed.startswith("3 of 3 recordings have several channels")


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{not json", "not JSON"),
        ('["clips/0.wav"]', "not a JSON object"),
        ('{"text": "stop"}', "names no audio"),
        ('{"audio": 3, "text": "stop"}', "names no audio"),
        ('{"audio": "clips/0.wav"}', "has no words"),
        ('{"audio": "clips/0.wav", "text": "  "}', "has no words"),
        ('{"audio": "clips/0.wav", "text": "..."}', "has no words"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    path = manifest(tmp_path, 2)
    path.write_text(path.read_text() + "\n" + line + "\n")
    error = refused(path)
    assert what in error.message
    assert f"{path}, line 4" in error.cause


def test_missing_and_short_recordings_are_named(tmp_path: Path) -> None:
    path = manifest(tmp_path, 8)
    text = path.read_text()
    for index in range(8):
        (tmp_path / "clips" / f"{index}.wav").unlink()
    assert f"{path}, line " in refused(path).cause
    for index in range(8):
        record(tmp_path / "clips" / f"{index}.wav", seconds=0.02)
    path.write_text(text)
    error = refused(path)
    assert "too short" in error.message
    assert "20 ms" in error.cause


def test_empty_and_missing_manifests_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("\n\n")
    assert "is empty" in refused(tmp_path / "m.jsonl").message
    assert "there is no manifest" in refused(tmp_path / "gone.jsonl").message
    (tmp_path / "m.jsonl").unlink()
    assert "there is no manifest" in refused(tmp_path).message
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(tmp_path / "bytes.jsonl").message
    assert "has one line" in refused(manifest(tmp_path, 1)).message


def test_packed_audio_reads_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = [rng.uniform(-1, 1, size).astype(np.float32) for size in (100, 250)]
    writer = PackedWriter(tmp_path)
    for wave, text in zip(waves, ("stop", "go back"), strict=True):
        writer.add(wave, text=text, voice="v", snr_db=5.0)
    writer.close()
    samples = PackedSpeech(tmp_path, command="make it")
    assert len(samples) == 2
    assert samples.target(1) == "go back"
    assert samples.duration_s(1) == 250 / 16_000
    np.testing.assert_allclose(samples.raw(1).wave, waves[1], atol=2e-5)
    with (tmp_path / "audio.i16").open("r+b") as file:
        file.truncate(600)
    with pytest.raises(StorageError, match="cut off"):
        PackedSpeech(tmp_path, command="make it")


def test_missing_training_audio_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        PackedSpeech(tmp_path / "none", command="make it")
    assert "`make it`" in caught.value.hint
