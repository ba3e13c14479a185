"""From a wave to what a speech network reads, by the model's own `preprocessor_config.json`, in NumPy.

NumPy and not torch: engines are measured in processes that hold no second framework.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks.audio import Wave

Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]

_SPREAD_GUARD = 1e-5  # added to a standard deviation by NeMo and by transformers after it
_LOG_GUARD = 2.0**-24  # likewise, to a power before its logarithm
_LEAST_FRAMES = 16  # exported graphs are specialised for more than one frame after eightfold subsampling


class FrontEnd(Protocol):
    """Turns a wave into a network's inputs."""

    @property
    def rate_hz(self) -> int:
        """Return what the wave's rate has to be."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the network's inputs, in order."""

    def __call__(self, wave: Wave) -> Arrays:
        """Return the inputs as a batch of one."""


@dataclass(frozen=True, slots=True)
class LogMel:
    """Normalised log-mel energies as NeMo's FastConformers read them (`ParakeetFeatureExtractor`).

    The wave is pre-emphasised, cut into windows (Hann, centred in the transform), squared, summed into triangular bands
    on Slaney's scale, and its logarithm normalised by each band's mean and deviation over the utterance.

    Attributes:
        rate_hz: Samples a second.
        bands: Mel bands.
        transform: Points of the Fourier transform.
        window: Samples of the window.
        hop: Samples between windows.
        emphasis: Weight of the sample before; 0 for none.
    """

    rate_hz: int = 16_000
    bands: int = 80
    transform: int = 512
    window: int = 400
    hop: int = 160
    emphasis: float = 0.97

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return ("input_features", "attention_mask")

    def __call__(self, wave: Wave) -> Arrays:
        """Return `input_features` float32 [1, frames, bands] and `attention_mask` int64 [1, frames].

        There are len(wave) // hop frames; a wave too short for the network gets masked frames of zeros behind it.
        """
        if self.emphasis:
            wave = np.concatenate([wave[:1], wave[1:] - np.float32(self.emphasis) * wave[:-1]])
        power = spectrogram(wave, transform=self.transform, window=_hann(self.window, False), hop=self.hop)
        count = len(wave) // self.hop
        filters = mel_filters(self.transform, self.bands, self.rate_hz)
        energies = np.log(power[:count] @ filters + np.float32(_LOG_GUARD))
        mean, spread = energies.mean(axis=0), energies.std(axis=0, ddof=1 if count > 1 else 0)
        features = np.zeros((1, max(count, _LEAST_FRAMES), self.bands), dtype=np.float32)
        features[0, :count] = (energies - mean) / (spread + np.float32(_SPREAD_GUARD))
        mask = np.zeros(features.shape[:2], dtype=np.int64)
        mask[0, :count] = 1
        return {"input_features": features, "attention_mask": mask}


@dataclass(frozen=True, slots=True)
class RawWave:
    """The wave itself (`Wav2Vec2FeatureExtractor`), brought to zero mean and unit variance if the model asks for it."""

    rate_hz: int = 16_000
    normalise: bool = True

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return ("input_values", "attention_mask")

    def __call__(self, wave: Wave) -> Arrays:
        """Return `input_values` float32 [1, samples] and `attention_mask` int64 [1, samples]."""
        if self.normalise:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + np.float32(1e-7))
        values = wave.astype(np.float32)[None]
        return {"input_values": values, "attention_mask": np.ones(values.shape, dtype=np.int64)}


@dataclass(frozen=True, slots=True)
class WhisperMel:
    """Whisper's log-mel energies over a fixed stretch of time (`WhisperFeatureExtractor`).

    Attributes:
        rate_hz: Samples a second.
        bands: Mel bands.
        transform: Points of the Fourier transform, and samples of the window.
        hop: Samples between windows.
        stretch_s: Seconds that a wave is padded to.
    """

    rate_hz: int = 16_000
    bands: int = 80
    transform: int = 400
    hop: int = 160
    stretch_s: int = 30

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return ("input_features",)

    def __call__(self, wave: Wave) -> Arrays:
        """Return `input_features` float32 [1, bands, frames].

        Raises:
            UsageError: If the wave is longer than the stretch.
        """
        whole = self.stretch_s * self.rate_hz
        if len(wave) > whole:
            raise UsageError(
                f"Whisper hears {self.stretch_s} s at a time",
                cause=f"an utterance of {len(wave) / self.rate_hz:.1f} s",
                hint="cut the recording into utterances",
            )
        padded = np.zeros(whole, dtype=np.float32)
        padded[: len(wave)] = wave
        window = _hann(self.transform, True)
        power = spectrogram(padded, transform=self.transform, window=window, hop=self.hop, reflect=True)[:-1]
        energies = np.log10(np.maximum(power @ mel_filters(self.transform, self.bands, self.rate_hz), 1e-10))
        energies = (np.maximum(energies, energies.max() - 8) + 4) / 4
        return {"input_features": np.ascontiguousarray(energies.T[None], dtype=np.float32)}


def spectrogram(wave: Wave, *, transform: int, window: Floats, hop: int, reflect: bool = False) -> Floats:
    """Return the power spectrum of windows centred at every `hop` samples, [1 + len(wave) // hop, transform // 2 + 1].

    Args:
        wave: float32 samples.
        transform: Points of the Fourier transform; a shorter window sits in its middle.
        window: Weights.
        hop: Samples between windows.
        reflect: Mirror the wave at its ends; zeros otherwise.
    """
    half = transform // 2
    padded = np.pad(wave, half, mode="reflect" if reflect else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, transform)[::hop]
    left = (transform - len(window)) // 2
    weights = np.zeros(transform, dtype=np.float32)
    weights[left : left + len(window)] = window
    spectrum = np.fft.rfft(frames * weights, axis=-1)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


@lru_cache(maxsize=4)
def _hann(size: int, periodic: bool) -> Floats:
    steps = size if periodic else size - 1
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / steps)).astype(np.float32)


@lru_cache(maxsize=4)
def mel_filters(transform: int, bands: int, rate_hz: int) -> Floats:
    """Return triangular bands of unit area on Slaney's mel scale, from 0 Hz to half the rate.

    Returns:
        float32 [transform // 2 + 1, bands].
    """
    hz = np.linspace(0, rate_hz / 2, transform // 2 + 1)
    corners = _from_mel(np.linspace(0.0, float(_to_mel(np.float64(rate_hz / 2))), bands + 2))
    widths = np.diff(corners)
    slopes = corners[None, :] - hz[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * (2 / (corners[2:] - corners[:-2]))
    return triangles.astype(np.float32)


# Slaney's Auditory Toolbox (1998): linear to 1 kHz at 200/3 Hz a mel, then 27 mels for every factor of 6.4.
_STEP_HZ, _KNEE_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def _to_mel(hz: Any) -> Any:
    knee = _KNEE_HZ / _STEP_HZ
    return np.where(hz < _KNEE_HZ, hz / _STEP_HZ, knee + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP)


def _from_mel(mel: Any) -> Any:
    knee = _KNEE_HZ / _STEP_HZ
    return np.where(mel < knee, mel * _STEP_HZ, _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee)))


def front_end(folder: Path) -> FrontEnd:
    """Read a model folder's `preprocessor_config.json` (or `processor_config.json`).

    Raises:
        UsageError: If it is missing, damaged, or of a kind not known here.
    """
    path, config = _configuration(folder)
    kind = str(config.get("feature_extractor_type", ""))
    try:
        if kind == "ParakeetFeatureExtractor":
            return LogMel(
                rate_hz=int(config.get("sampling_rate", 16_000)),
                bands=int(config.get("feature_size", 80)),
                transform=int(config.get("n_fft", 512)),
                window=int(config.get("win_length", 400)),
                hop=int(config.get("hop_length", 160)),
                emphasis=float(config.get("preemphasis", 0.97) or 0.0),
            )
        if kind == "Wav2Vec2FeatureExtractor":
            return RawWave(
                rate_hz=int(config.get("sampling_rate", 16_000)), normalise=bool(config.get("do_normalize", True))
            )
        if kind == "WhisperFeatureExtractor":
            return WhisperMel(
                rate_hz=int(config.get("sampling_rate", 16_000)),
                bands=int(config.get("feature_size", 80)),
                transform=int(config.get("n_fft", 400)),
                hop=int(config.get("hop_length", 160)),
                stretch_s=int(config.get("chunk_length", 30)),
            )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"cannot read the pre-processing of the model in `{folder}`",
            cause=f"{path}: {error}",
            hint="save it again with the feature extractor's `save_pretrained`",
        ) from error
    raise UsageError(
        f"the speech task cannot prepare audio for the model in `{folder}`",
        cause=f"{path} says feature_extractor_type {kind!r}",
        hint="ParakeetFeatureExtractor, Wav2Vec2FeatureExtractor and WhisperFeatureExtractor are known",
    )


def _configuration(folder: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(
                f"cannot read the pre-processing of the model in `{folder}`",
                cause=f"{path}: {error}",
                hint="save it again with the processor's `save_pretrained`",
            ) from error
        config = config.get("feature_extractor", config) if isinstance(config, dict) else {}
        if "feature_extractor_type" in config:
            return path, config
    raise UsageError(
        f"the model in `{folder}` does not say how it hears",
        cause="neither preprocessor_config.json nor processor_config.json states a feature_extractor_type",
        hint="save the model's feature extractor into its folder, or the one its ONNX file lies in, with "
        "`save_pretrained`",
    )
