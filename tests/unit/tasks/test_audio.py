"""Audio files into memory: what is read, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from leptonbench.errors import UsageError
from leptonbench.tasks.audio import inspect_audio, json_line, read_audio, resample


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "worst"), [("wav", 4e-5), ("flac", 4e-5), ("ogg", 0.05)])
def test_reads_what_was_written(tmp_path: Path, suffix: str, worst: float) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440, 16_000), 16_000)
    clip = read_audio(path, origin="test")
    assert clip.rate_hz == 16_000
    assert clip.wave.dtype == np.float32
    np.testing.assert_allclose(clip.wave, tone(440, 16_000), atol=worst)


def test_several_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(440, 16_000), tone(300, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    assert inspect_audio(tmp_path / "a.wav", origin="test").channels == 2
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", origin="test").wave, (left + right) / 2, atol=1e-6)


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    kept = resample(tone(1000, 44_100), 44_100, 16_000)
    assert len(kept) == 8000
    np.testing.assert_allclose(kept[500:-500], tone(1000, 16_000)[500:-500], atol=2e-3)
    # 12 kHz would fold to 4 kHz.
    assert np.abs(resample(tone(12_000, 44_100), 44_100, 16_000)[500:-500]).max() < 2e-3
    assert len(resample(tone(440, 8000), 8000, 16_000)) == 8000


def test_the_same_rate_is_left_alone() -> None:
    wave = tone(440, 16_000)
    assert resample(wave, 16_000, 16_000) is wave


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        inspect_audio(path, origin="m.jsonl, line 3")
        read_audio(path, origin="m.jsonl, line 3")
    error = caught.value
    assert "m.jsonl, line 3" in error.cause
    assert str(path) in error.message
    assert error.hint
    return error


def test_silence_is_refused_with_its_level(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "zero.wav", np.zeros(8000, np.float32), 16_000)
    assert "every sample is zero" in refused(tmp_path / "zero.wav").cause
    soundfile.write(tmp_path / "faint.wav", tone(440, 16_000) * 1e-4, 16_000, subtype="FLOAT")
    assert "-86 dBFS" in refused(tmp_path / "faint.wav").cause


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    assert "cannot be decoded" in refused(tmp_path / "text.wav").message
    assert "there is no audio" in refused(tmp_path / "gone.wav").message
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    assert "no samples" in refused(tmp_path / "empty.wav").message


def test_a_damaged_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    assert "cannot be decoded" in refused(path).message


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    wave = tone(440, 16_000)
    wave[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16_000, subtype="FLOAT")
    assert "no numbers" in refused(tmp_path / "nan.wav").message


@pytest.mark.parametrize("line", ["{", "[1]", "3"])
def test_lines_that_are_no_objects_are_refused(line: str) -> None:
    with pytest.raises(UsageError, match="manifest line") as caught:
        json_line(line, origin="m.jsonl, line 7")
    assert "m.jsonl, line 7" in caught.value.cause
