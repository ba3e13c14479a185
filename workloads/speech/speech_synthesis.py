"""Voices: sentences spoken by espeak-ng, cleaned of silence and brought to one rate.

A voice is an accent with a timbre ("variant" in espeak-ng's words: formants, pitch range, voicing). The evaluation's
timbres are heard in no other split, whatever the accent; training and calibration share theirs. Timbres that are
relatives of one another (`edward` and `edward2`, the three `steph`) are on one side. Robots, whispers and other
effects are left out.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from speech_grammar import words

from leptonbench.errors import PrerequisiteError
from leptonbench.tasks.audio import resample

RATE_HZ = 16_000
ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
TRAINING_TIMBRES = words(
    "m1 m3 m4 m5 m7 f1 f3 f4 Alex Andy Annie Denis Gene Gene2 Jacky Lee Mario Michael Mike adam anika announcer "
    "antonio aunty belinda boris caleb david ed grandma grandpa gustave iven iven2 marcelo max paul quincy rob robert "
    "shelby steph steph2 steph3 travis victor zac"
)
EVALUATION_TIMBRES = words("m2 m6 m8 f2 f5 Andrea benjamin edward edward2 linda michel miguel")


@dataclass(frozen=True)
class Delivery:
    """How a sentence is said.

    Attributes:
        voice: espeak-ng's name: accent and timbre.
        words_per_minute: Speed.
        pitch: 0 to 99; 50 is the timbre's own.
    """

    voice: str
    words_per_minute: int
    pitch: int


def draw_delivery(rng: np.random.Generator, timbres: tuple[str, ...]) -> Delivery:
    """Draw an accent, one of the timbres, speed and pitch."""
    accent, timbre = ACCENTS[int(rng.integers(len(ACCENTS)))], timbres[int(rng.integers(len(timbres)))]
    return Delivery(f"{accent}+{timbre}", int(rng.integers(135, 201)), int(rng.integers(25, 76)))


def check_synthesiser() -> str:
    """Return espeak-ng's version line.

    Raises:
        PrerequisiteError: If it is not on the path.
    """
    if shutil.which("espeak-ng") is None:
        raise PrerequisiteError(
            "espeak-ng is not installed",
            cause="it speaks the sentences of the speech workload",
            hint="install it (`apt install espeak-ng`, `brew install espeak-ng`); measuring does not need it",
        )
    done = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split("Data at")[0].strip()


def speak(text: str, delivery: Delivery) -> NDArray[np.float32]:
    """Return a sentence as float32 mono at `RATE_HZ`, without silence around it and at an RMS of 0.05."""
    done = subprocess.run(
        [
            "espeak-ng",
            *("-v", delivery.voice),
            *("-s", str(delivery.words_per_minute)),
            *("-p", str(delivery.pitch)),
            *("--stdout", text),
        ],
        capture_output=True,
        check=True,
    )
    # espeak-ng cannot seek in a pipe, so the length in its header means nothing: read rate and samples by place.
    rate_hz = int.from_bytes(done.stdout[24:28], "little")
    wave = np.frombuffer(done.stdout[44 : len(done.stdout) // 2 * 2], dtype="<i2").astype(np.float32) / 32768
    wave = resample(wave, rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]
    return (wave * (0.05 / np.sqrt(np.mean(wave**2)))).astype(np.float32)
