"""Recordings by a manifest: JSON lines of `audio` and `text`, paths from the manifest on or absolute."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from leptonbench.errors import UsageError
from leptonbench.tasks.audio import AudioFacts, Clip, inspect_audio, json_line, read_audio
from leptonbench.tasks.base import Split
from leptonbench.tasks.wer import normalise

LEAST_S = 0.05
"""Shorter recordings hold no word, and fewer frames than networks take."""

_HELD_AT_MOST = 128  # recordings that calibrate where a manifest is divided
_NAMES = {Split.CALIBRATION: ("calibration", "train"), Split.EVALUATION: ("evaluation", "validation", "test")}
_HINT = 'write one object a line: {"audio": "clips/a.wav", "text": "stop line four"}'


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest.

    Attributes:
        path: The recording.
        name: Its path as the manifest gives it.
        text: What is said.
        origin: Manifest and line.
    """

    path: Path
    name: str
    text: str
    origin: str


class SpeechManifest:
    """One split of recordings; see `leptonbench.tasks.base.Samples`.

    A folder holds `calibration.jsonl` and `evaluation.jsonl`, or one `manifest.jsonl`. One manifest is divided by the
    hash of each path as it is written: a fifth, at most 128, calibrates and the rest evaluates, so that nothing is in
    both.

    Args:
        source: The folder or the manifest.
        split: `CALIBRATION` or `EVALUATION`.
        limit: At most so many recordings.
        rate_hz: What the model hears; other rates are resampled when encoded, and said in `notices`.

    Attributes:
        identity: A hash of texts and audio.
        notices: What is done to the recordings that a user may not expect.

    Raises:
        UsageError: If a line or a file cannot be used; nothing has been measured then.
    """

    def __init__(self, source: Path, split: Split, *, limit: int, rate_hz: int) -> None:
        path, whole = _locate(source, split)
        entries = read_manifest(path)
        if whole:
            entries = _divide(entries, split, path)
        self._entries = entries[:limit]
        self._facts = [_checked(entry) for entry in self._entries]
        self.notices = _notices(self._facts, rate_hz)
        digest = hashlib.sha256()
        for entry in self._entries:
            digest.update(f"{entry.text}\n".encode())
            digest.update(hashlib.sha256(entry.path.read_bytes()).digest())
        self.identity = f"speech-{split.value}-{len(self._entries)}-{digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        """Return how many recordings there are."""
        return len(self._entries)

    def raw(self, index: int) -> Clip:
        """Decode one recording, at its own rate."""
        entry = self._entries[index]
        return read_audio(entry.path, origin=entry.origin)

    def target(self, index: int) -> str:
        """Return what is said."""
        return self._entries[index].text

    def duration_s(self, index: int) -> float:
        """Return how long one recording plays."""
        return self._facts[index].duration_s


def read_manifest(path: Path) -> list[Entry]:
    """Read a manifest's lines; empty lines are skipped.

    Raises:
        UsageError: If it cannot be read, a line is malformed, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the manifest `{path}` cannot be read", cause=str(error), hint=_HINT) from error
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        origin = f"{path}, line {number}"
        fields = json_line(line, origin=origin)
        audio, text = fields.get("audio"), fields.get("text")
        if not isinstance(audio, str) or not audio:
            raise UsageError("a manifest line names no audio", cause=f"{origin}: `audio` is {audio!r}", hint=_HINT)
        if not isinstance(text, str) or not normalise(text):
            raise UsageError(
                "a manifest line has no words",
                cause=f"{origin}: `text` is {text!r}",
                hint="give what is said, or remove the line: its errors cannot be counted",
            )
        entries.append(Entry(path.parent / audio, audio, text, origin))
    if not entries:
        raise UsageError(f"the manifest `{path}` is empty", hint=_HINT)
    return entries


def _locate(source: Path, split: Split) -> tuple[Path, bool]:
    """Return the split's manifest and whether it still has to be divided."""
    if source.is_file():
        return source, True
    if not source.is_dir():
        raise UsageError(f"there is no manifest at `{source}`", hint="give a file of JSON lines, or a folder with one")
    found = {
        part: next((source / f"{name}.jsonl" for name in names if (source / f"{name}.jsonl").is_file()), None)
        for part, names in _NAMES.items()
    }
    own = found.get(split)
    if own and all(found.values()):
        return own, False
    # One of the two alone is divided as a whole manifest would be.
    single = next((path for path in (*found.values(), source / "manifest.jsonl") if path and path.is_file()), None)
    if single is None:
        raise UsageError(
            f"there is no manifest in `{source}`",
            cause="looked for manifest.jsonl, and for calibration.jsonl with evaluation.jsonl",
            hint=_HINT,
        )
    return single, True


def _divide(entries: list[Entry], split: Split, path: Path) -> list[Entry]:
    if len(entries) < 2:
        raise UsageError(
            f"the manifest `{path}` has one line",
            cause="calibration and evaluation take one recording each at least",
            hint="add recordings",
        )
    ordered = sorted(entries, key=lambda entry: hashlib.sha256(entry.name.encode()).digest())
    held = min(_HELD_AT_MOST, max(1, len(ordered) // 5))
    return ordered[:held] if split is Split.CALIBRATION else ordered[held:]


def _checked(entry: Entry) -> AudioFacts:
    facts = inspect_audio(entry.path, origin=entry.origin)
    if facts.duration_s < LEAST_S:
        raise UsageError(
            f"`{entry.path}` is too short",
            cause=f"{facts.duration_s * 1000:.0f} ms, {entry.origin}",
            hint=f"recordings of {LEAST_S * 1000:.0f} ms and more are recognised: remove the line or record it again",
        )
    return facts


def _notices(facts: list[AudioFacts], rate_hz: int) -> tuple[str, ...]:
    rates = Counter(fact.rate_hz for fact in facts if fact.rate_hz != rate_hz)
    said = [
        f"{count} of {len(facts)} recordings are resampled from {rate} Hz to the model's {rate_hz} Hz"
        for rate, count in sorted(rates.items())
    ]
    several = sum(fact.channels > 1 for fact in facts)
    if several:
        said.append(f"{several} of {len(facts)} recordings have several channels, which are averaged into one")
    return tuple(said)
