"""Audio files into memory: any rate and any number of channels in, what a model hears out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError

Wave = NDArray[np.float32]

SILENCE_DBFS = -80.0
"""Peaks below this are called silence: a 16-bit recording's last three steps."""


class Clip(NamedTuple):
    """One recording.

    Attributes:
        wave: Samples, float32, one channel, full scale at 1.
        rate_hz: Samples a second.
    """

    wave: Wave
    rate_hz: int


class AudioFacts(NamedTuple):
    """What a file's header says."""

    frames: int
    rate_hz: int
    channels: int

    @property
    def duration_s(self) -> float:
        """Return how long it plays."""
        return self.frames / self.rate_hz


def inspect_audio(path: Path, *, origin: str) -> AudioFacts:
    """Read a file's header.

    Args:
        path: The file.
        origin: Who names it (manifest and line), for the error.

    Raises:
        UsageError: If the file is not there, is no audio or has no samples.
    """
    import soundfile

    if not path.is_file():
        raise UsageError(
            f"there is no audio at `{path}`",
            cause=origin,
            hint="paths in a manifest are relative to the manifest's folder",
        )
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, origin, error) from error
    if not info.frames:
        raise UsageError(f"`{path}` has no samples", cause=origin, hint="remove the line or record it again")
    return AudioFacts(int(info.frames), int(info.samplerate), int(info.channels))


def read_audio(path: Path, *, origin: str) -> Clip:
    """Decode a file; several channels are averaged into one.

    Args:
        path: Anything libsndfile reads: WAV, FLAC, OGG and others.
        origin: Who names it, for the error.

    Raises:
        UsageError: If it cannot be decoded, holds non-finite samples or is silent.
    """
    import soundfile

    try:
        samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, origin, error) from error
    wave = np.ascontiguousarray(samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32))
    peak = float(np.abs(wave).max(initial=0.0))
    if not math.isfinite(peak):
        raise UsageError(f"`{path}` has samples that are no numbers", cause=origin, hint="write the file again")
    if peak < 10 ** (SILENCE_DBFS / 20):
        level = f"its peak is at {20 * math.log10(peak):.0f} dBFS" if peak else "every sample is zero"
        raise UsageError(
            f"`{path}` is silent",
            cause=f"{level}; {origin}",
            hint=f"nothing above {SILENCE_DBFS:.0f} dBFS can be recognised: remove the line or record it again",
        )
    return Clip(wave, int(rate_hz))


def _unreadable(path: Path, origin: str, error: Exception) -> UsageError:
    return UsageError(
        f"`{path}` cannot be decoded as audio",
        cause=f"{str(error).strip() or repr(error)}; {origin}",
        hint="give WAV, FLAC or OGG files that other players open",
    )


def resample(wave: Wave, rate_hz: int, wanted_hz: int) -> Wave:
    """Bring a wave to another rate with a polyphase low-pass filter.

    The filter is SciPy's default for this (Kaiser window, beta 5, ten zero crossings a side), which leaves aliases
    about 60 dB down.

    Returns:
        float32; ceil(len(wave) * wanted_hz / rate_hz) samples.
    """
    if rate_hz == wanted_hz:
        return wave
    from scipy.signal import resample_poly  # type: ignore[import-untyped]

    common = math.gcd(rate_hz, wanted_hz)
    resampled = resample_poly(wave, wanted_hz // common, rate_hz // common)
    return np.asarray(resampled, dtype=np.float32)


def json_line(line: str, *, origin: str) -> dict[str, object]:
    """Parse one line of a manifest.

    Raises:
        UsageError: If it is no JSON object.
    """
    hint = 'a line is an object such as {"audio": "clips/a.wav", "text": "stop line four"}'
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise UsageError("a manifest line is not JSON", cause=f"{origin}: {error}", hint=hint) from error
    if not isinstance(entry, dict):
        raise UsageError("a manifest line is not a JSON object", cause=f"{origin}: {line.strip()[:80]}", hint=hint)
    return entry
