"""Open an artifact in an engine, in a process of its own as a worker does: `python -m tests.backend_probe FOLDER`.

Reads `probe.json` and `samples.npy` in the folder; writes what the engine answered to `answers.npz` and what is known
of it to `facts.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from leptonbench.backends import BACKENDS, RuntimeOptions, Session
from leptonbench.errors import LeptonError
from leptonbench.harness.system import cpu_features
from leptonbench.schema import Artifact, EngineOptions


def main(folder: Path) -> None:
    """Run the probe; an engine that refuses the artifact leaves its error in the facts."""
    wanted = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    artifact = Artifact.model_validate(wanted["artifact"])
    options = RuntimeOptions(
        threads=1,
        features=cpu_features(),
        batches=(1, 3),
        cache=folder / "cache",
        inspect=wanted["inspect"],
        engine=EngineOptions.model_validate(wanted["engine"]),
    )
    facts: dict[str, Any] = {}
    try:
        session = BACKENDS.get(wanted["backend"])().open(artifact, options)
        _answer(session, artifact.inputs[0].name, folder, facts)
        facts["effective"] = session.effective()
        if wanted["twice"]:
            other = BACKENDS.get(wanted["backend"])().open(artifact, options)
            other.run({artifact.inputs[0].name: np.load(folder / "samples.npy")[:1]})
            other.close()
        session.close()
    except LeptonError as error:
        facts["refused"] = [error.message, error.cause, error.hint]
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _answer(session: Session, name: str, folder: Path, facts: dict[str, Any]) -> None:
    samples = np.load(folder / "samples.npy")
    before = samples.copy()
    outputs = session.run({name: samples[:1]})
    first, kept = outputs[0], outputs[0].copy()
    threes = [session.run({name: samples[start : start + 3]})[0] for start in range(0, len(samples), 3)]
    facts["outputs"] = len(outputs)
    facts["dtype"] = str(first.dtype)
    facts["is_unchanged_by_later_runs"] = bool(np.array_equal(first, kept))
    facts["shares_memory"] = bool(
        np.shares_memory(threes[0], threes[1]) or any(np.shares_memory(one, samples) for one in (first, *threes))
    )
    facts["leaves_inputs_alone"] = bool(np.array_equal(samples, before))
    again = session.run({name: samples[:1]})[0]
    np.savez(folder / "answers.npz", one=first, again=again, threes=np.concatenate(threes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
