"""The NumPy front ends hear what transformers' feature extractors hear."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from leptonbench.errors import UsageError
from leptonbench.tasks.audio_features import LogMel, RawWave, WhisperMel, front_end, mel_filters


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    rng = np.random.default_rng(7)
    time_s = np.arange(21_477) / 16_000
    return (0.3 * np.sin(2 * np.pi * 300 * time_s**2) + rng.normal(0, 0.02, len(time_s))).astype(np.float32)


@pytest.mark.parametrize("samples", [21_477, 16_000, 2720])
def test_log_mel_equals_the_parakeet_feature_extractor(wave: np.ndarray, samples: int) -> None:
    from transformers import ParakeetFeatureExtractor

    theirs = ParakeetFeatureExtractor()(wave[:samples], sampling_rate=16_000, return_tensors="pt")
    ours = LogMel()(wave[:samples])
    count = int(theirs["attention_mask"].sum())
    assert ours["input_features"].shape == (1, count, 80)
    assert ours["attention_mask"].all()
    np.testing.assert_allclose(ours["input_features"], theirs["input_features"][:, :count].numpy(), atol=2e-4)


def test_log_mel_of_other_settings_equals_the_feature_extractor(wave: np.ndarray, tmp_path: Path) -> None:
    from transformers import ParakeetFeatureExtractor

    theirs = ParakeetFeatureExtractor(feature_size=64, hop_length=200, n_fft=400, win_length=320, preemphasis=0.9)
    theirs.save_pretrained(tmp_path)
    ours = front_end(tmp_path)(wave)["input_features"]
    expected = theirs(wave, sampling_rate=16_000, return_tensors="pt")["input_features"].numpy()
    np.testing.assert_allclose(ours, expected[:, : ours.shape[1]], atol=2e-4)


def test_a_short_wave_gets_masked_frames(wave: np.ndarray) -> None:
    ours = LogMel()(wave[:900])
    assert ours["attention_mask"].sum() == 5
    assert ours["input_features"].shape[1] == 16
    assert not ours["input_features"][0, 5:].any()
    assert np.isfinite(ours["input_features"]).all()


def test_whisper_mel_equals_the_whisper_feature_extractor(wave: np.ndarray, tmp_path: Path) -> None:
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor()
    theirs.save_pretrained(tmp_path)
    front = front_end(tmp_path)
    assert isinstance(front, WhisperMel)
    expected = theirs(wave, sampling_rate=16_000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(front(wave)["input_features"], expected, atol=1e-4)


@pytest.mark.parametrize("normalise", [True, False])
def test_raw_wave_equals_the_wav2vec2_feature_extractor(wave: np.ndarray, tmp_path: Path, normalise: bool) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    theirs = Wav2Vec2FeatureExtractor(do_normalize=normalise)
    theirs.save_pretrained(tmp_path)
    front = front_end(tmp_path)
    assert front == RawWave(normalise=normalise)
    expected = theirs(wave, sampling_rate=16_000, return_tensors="np")["input_values"]
    np.testing.assert_allclose(front(wave)["input_values"], expected, atol=1e-5)


def test_mel_filters_equal_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(257, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(512, 80, 16_000), theirs, atol=1e-7)


def test_whisper_refuses_what_is_longer_than_it_hears() -> None:
    with pytest.raises(UsageError, match="30 s at a time"):
        WhisperMel()(np.zeros(31 * 16_000, dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "does not say how it hears"),
        ("{", "cannot read the pre-processing"),
        (json.dumps({"sampling_rate": 16_000}), "does not say how it hears"),
        (json.dumps({"feature_extractor_type": "EncodecFeatureExtractor"}), "cannot prepare audio"),
        (
            json.dumps({"feature_extractor_type": "ParakeetFeatureExtractor", "n_fft": "wide"}),
            "cannot read the pre-processing",
        ),
    ],
)
def test_folders_that_cannot_be_understood_are_refused(tmp_path: Path, content: str | None, what: str) -> None:
    if content is not None:
        (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(UsageError, match=what) as caught:
        front_end(tmp_path)
    assert caught.value.hint
