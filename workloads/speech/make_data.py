"""Speak the speech workload's sentences and put them into a noisy factory.

    python workloads/speech/make_data.py ship    # evaluation and calibration, into workloads/speech/data
    python workloads/speech/make_data.py train   # training, into the cache; needed only to train or tune

A sentence is a function of seed, split and index: its text, its voice, the room and the noise. The evaluation's voices
are heard in no other split (see speech_synthesis.py); texts may recur, as commands do. Needs espeak-ng, of which other
versions speak a little differently: what is measured is the audio that ships.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from speech_grammar import Speaker
from speech_noise import factory, reverberate
from speech_synthesis import EVALUATION_TIMBRES, RATE_HZ, TRAINING_TIMBRES, check_synthesiser, draw_delivery, speak

from leptonbench.tasks.audio_packed import PackedWriter, train_folder

SEED = 2026  # as in workload.yaml
BYSTANDERS = 48  # sentences that babble is mixed from, in voices of the same split
REVERBERANT = 0.6  # share of sentences said in a hall


@dataclass(frozen=True)
class Part:
    """One split.

    Attributes:
        name: Of the split.
        count: How many sentences.
        timbres: espeak-ng variants that speak in it.
        snr_db: Levels of speech over noise, equally likely.
    """

    name: str
    count: int
    timbres: tuple[str, ...]
    snr_db: tuple[float, ...]


TRAIN = Part("train", 16_000, TRAINING_TIMBRES, (30, 20, 15, 10, 5, 0))
CALIBRATION = Part("calibration", 96, TRAINING_TIMBRES, (20, 15, 10, 5))
EVALUATION = Part("evaluation", 400, EVALUATION_TIMBRES, (20, 15, 10, 5))


@dataclass(frozen=True)
class Sentence:
    """A sentence as recorded: float32 mono at `RATE_HZ` and what is known of it."""

    wave: NDArray[np.float32]
    text: str
    voice: str
    snr_db: float


def generator(seed: int, split: str, *key: int) -> np.random.Generator:
    """Return the random generator of one thing in a split."""
    word = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, word, *key])


class Studio:
    """Makes the sentences of one split."""

    def __init__(self, part: Part, seed: int) -> None:
        self._part, self._seed = part, seed
        rng = generator(seed, part.name, 0)
        self._bystanders = [speak(Speaker(rng).sentence(), draw_delivery(rng, part.timbres)) for _ in range(BYSTANDERS)]

    def record(self, index: int) -> Sentence:
        """Return one sentence."""
        rng = generator(self._seed, self._part.name, 1, index)
        text, delivery = Speaker(rng).sentence(), draw_delivery(rng, self._part.timbres)
        speech = speak(text, delivery)
        before, after = (int(rng.uniform(low, 0.35) * RATE_HZ) for low in (0.08, 0.15))
        wave = np.concatenate([np.zeros(before, np.float32), speech, np.zeros(after, np.float32)])
        if rng.random() < REVERBERANT:
            wave = reverberate(wave, rng, RATE_HZ)
        snr_db = float(rng.choice(self._part.snr_db))
        power = float(np.mean(wave[before : before + len(speech)] ** 2))
        noise = factory(len(wave), rng, rate_hz=RATE_HZ, sentences=self._bystanders)
        wave = wave + noise * np.float32(np.sqrt(power / 10 ** (snr_db / 10)))
        wave *= 10 ** (rng.uniform(-12, 0) / 20) * 0.9 / np.abs(wave).max()
        return Sentence(wave.astype(np.float32), text, delivery.voice, snr_db)


_studios: list[Studio] = []  # one a worker process, opened when the process starts


def _open_studio(part: Part, seed: int) -> None:
    _studios.append(Studio(part, seed))


def _record(index: int) -> Sentence:
    return _studios[0].record(index)


def record_train(part: Part, seed: int, folder: Path) -> None:
    """Write the training split into a packed folder, with a process a core."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    writer, begin = PackedWriter(scratch), time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(os.sched_getaffinity(0)), _open_studio, (part, seed)) as pool:
        for index, one in enumerate(pool.imap(_record, range(part.count), chunksize=50)):
            writer.add(one.wave, text=one.text, voice=one.voice, snr_db=one.snr_db)
            if index % 2000 == 1999:
                print(f"{index + 1} sentences in {time.perf_counter() - begin:.0f} s", flush=True)
    writer.close()
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)


def record_shipped(part: Part, seed: int, folder: Path, *, level: float) -> None:
    """Write one split as OGG Vorbis files of compression `level` and a manifest of JSON lines."""
    clips = folder / part.name
    shutil.rmtree(clips, ignore_errors=True)
    clips.mkdir(parents=True)
    studio, lines = Studio(part, seed), []
    for index in range(part.count):
        one = studio.record(index)
        name = f"{index:04d}.ogg"
        soundfile.write(clips / name, one.wave, RATE_HZ, format="OGG", subtype="VORBIS", compression_level=level)
        line = {"audio": f"{part.name}/{name}", "text": one.text, "voice": one.voice, "snr_db": one.snr_db}
        lines.append(json.dumps(line))
    (folder / f"{part.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ship", "train"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder of what ships")
    given = parser.parse_args()
    print(check_synthesiser())
    if given.what == "train":
        record_train(TRAIN, SEED, train_folder(SEED))
        print(train_folder(SEED))
        return
    for part in (CALIBRATION, EVALUATION):
        record_shipped(part, SEED, given.out, level=0.6)
        size = sum(file.stat().st_size for file in given.out.rglob(f"{part.name}/*"))
        print(f"{part.name}: {part.count} sentences, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
