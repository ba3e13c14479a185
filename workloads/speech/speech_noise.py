"""The factory around the speaker: reverberation and noise, all generated.

Noise is a mixture of mains hum, fans (shaped noise), clanks (ringing metal) and babble (other people's sentences).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

Wave = NDArray[np.float32]


def reverberate(wave: Wave, rng: np.random.Generator, rate_hz: int) -> Wave:
    """Return a wave as heard in a hall: the direct sound and a tail of decaying noise.

    The tail falls by 60 dB in 0.15 to 0.7 s, starts 2 to 12 ms after the direct sound and holds 0 to 15 dB less energy.
    """
    decay_s, start_s = rng.uniform(0.15, 0.7), rng.uniform(0.002, 0.012)
    time_s = np.arange(int(decay_s * rate_hz)) / rate_hz
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail[time_s < start_s] = 0
    tail *= 10 ** (-rng.uniform(0, 15) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return fftconvolve(wave, tail.astype(np.float32))[: len(wave)].astype(np.float32)


def hum(count: int, rng: np.random.Generator, rate_hz: int) -> Wave:
    """Return mains hum at 50 or 60 Hz with its harmonics."""
    base_hz = float(rng.choice([50, 60]))
    orders = np.arange(1, 13)
    time_s = np.arange(count) / rate_hz
    strengths = rng.uniform(0, 1, len(orders)) / orders**0.7
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    wave = sum(
        a * np.sin(2 * np.pi * base_hz * k * time_s + p) for a, k, p in zip(strengths, orders, phases, strict=True)
    )
    return np.asarray(wave, dtype=np.float32)


def fan(count: int, rng: np.random.Generator, rate_hz: int) -> Wave:
    """Return noise whose spectrum falls with frequency and has two broad resonances."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    shape = (100 + hz) ** -rng.uniform(0.2, 1.0)
    for _ in range(2):
        centre, width = rng.uniform(150, 4000), rng.uniform(100, 800)
        shape *= 1 + 3 * np.exp(-(((hz - centre) / width) ** 2))
    return np.fft.irfft(spectrum * shape, count).astype(np.float32)


def clanks(count: int, rng: np.random.Generator, rate_hz: int) -> Wave:
    """Return metal struck now and then: a few inharmonic tones that ring for tenths of a second."""
    wave = np.zeros(count, dtype=np.float32)
    for _ in range(1 + int(rng.poisson(1.5 * count / rate_hz))):
        length = int(rng.uniform(0.05, 0.4) * rate_hz)
        time_s = np.arange(length) / rate_hz
        tones = rng.uniform(600, 6500, int(rng.integers(3, 7)))
        ring = sum(np.sin(2 * np.pi * tone * time_s + rng.uniform(0, 6)) for tone in tones)
        ring = np.asarray(ring * np.exp(-time_s * rng.uniform(12, 60)) * rng.uniform(0.3, 1), dtype=np.float32)
        start = int(rng.integers(count))
        wave[start : start + length] += ring[: count - start]
    return wave


def babble(count: int, rng: np.random.Generator, sentences: list[Wave]) -> Wave:
    """Return three to five other people talking, each from a place of their own in a sentence."""
    wave = np.zeros(count, dtype=np.float32)
    for _ in range(int(rng.integers(3, 6))):
        one = sentences[int(rng.integers(len(sentences)))]
        wave += np.resize(np.roll(one, int(rng.integers(len(one)))), count) * rng.uniform(0.4, 1)
    return wave


def factory(count: int, rng: np.random.Generator, *, rate_hz: int, sentences: list[Wave]) -> Wave:
    """Return a mixture of one to four kinds of noise, of unit power over the whole."""
    kinds = (
        lambda: hum(count, rng, rate_hz),
        lambda: fan(count, rng, rate_hz),
        lambda: clanks(count, rng, rate_hz),
        lambda: babble(count, rng, sentences),
    )
    present = rng.random(len(kinds)) < (0.4, 0.8, 0.5, 0.4)
    present[int(rng.integers(len(kinds)))] = True
    wave = np.zeros(count, dtype=np.float32)
    for kind, wanted in zip(kinds, present, strict=True):
        if wanted:
            part = kind()
            wave += part * (rng.uniform(0.2, 1) / (np.sqrt(np.mean(part**2)) + 1e-9)).astype(np.float32)
    return wave / np.float32(np.sqrt(np.mean(wave**2)))
