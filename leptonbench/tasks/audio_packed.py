"""Training audio in the cache: one flat file of 16-bit samples, mapped into memory, and a line of text a sentence.

Thousands of small compressed files would be decoded again and again in training; this is read at the disk's speed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from leptonbench.errors import PrerequisiteError, StorageError
from leptonbench.paths import cache_dir
from leptonbench.tasks.audio import Clip, Wave

DATA_VERSION = 1  # of what workloads/speech/make_data.py makes; part of the cache key
RATE_HZ = 16_000


def train_folder(seed: int) -> Path:
    """Return where the training split of a seed lies once it is made."""
    return cache_dir() / "data" / f"speech-v{DATA_VERSION}-s{seed}-train"


class PackedWriter:
    """Writes a packed split: `add` each sentence in order, then `close`.

    Args:
        folder: An existing empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._audio = (folder / "audio.i16").open("wb")
        self._lines = (folder / "manifest.jsonl").open("w", encoding="utf-8")
        self._start = 0

    def add(self, wave: Wave, **entry: str | float) -> None:
        """Append one sentence, float32 within -1 and 1, and what is known of it."""
        samples = np.clip(np.rint(wave * 32767), -32768, 32767).astype("<i2")
        self._audio.write(samples.tobytes())
        line = {"start": self._start, "count": len(samples), **entry}
        self._lines.write(json.dumps(line) + "\n")
        self._start += len(samples)

    def close(self) -> None:
        """Flush both files."""
        self._audio.close()
        self._lines.close()


class PackedSpeech:
    """A packed split; see `leptonbench.tasks.base.Samples`.

    Raises:
        PrerequisiteError: If the split has not been made on this machine.
        StorageError: If audio and manifest do not belong together.
    """

    notices: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, command: str) -> None:
        path = folder / "manifest.jsonl"
        if not path.is_file():
            raise PrerequisiteError(
                "the speech workload's training audio is not on this machine",
                cause=f"{folder} does not exist",
                hint=f"make it once with `{command}` (needs espeak-ng)",
            )
        self._lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        self._audio = np.memmap(folder / "audio.i16", dtype="<i2", mode="r")
        last = self._lines[-1]
        if last["start"] + last["count"] != len(self._audio):
            raise StorageError(
                f"the training audio in `{folder}` is cut off", hint=f"remove the folder and run `{command}`"
            )
        self.identity = folder.name

    def __len__(self) -> int:
        """Return how many sentences there are."""
        return len(self._lines)

    def raw(self, index: int) -> Clip:
        """Return one sentence as float32 mono."""
        line = self._lines[index]
        samples = self._audio[line["start"] : line["start"] + line["count"]]
        return Clip(samples.astype(np.float32) / np.float32(32767), RATE_HZ)

    def target(self, index: int) -> str:
        """Return what is said."""
        return str(self._lines[index]["text"])

    def duration_s(self, index: int) -> float:
        """Return how long one sentence plays."""
        return int(self._lines[index]["count"]) / RATE_HZ
