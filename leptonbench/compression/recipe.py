"""A recipe's steps: their order, and the network that comes out of those on the network itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leptonbench.compression import TECHNIQUES
from leptonbench.compression.base import Context, Tuning
from leptonbench.compression.shipped import TUNED_FILE, check_shipped, find_tuned
from leptonbench.compression.source import hash_files, resolve_source
from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

TUNING_REVISION = 5  # raise when a technique's code or full number of steps changes what tuning produces
_STUDENT, _CHANNELS, _WEIGHTS, _SHARING, _CAST, _QUANTISING = 10, 20, 30, 40, 50, 60
# Why one kind of step cannot come after another; the first entry whose two orders match says it.
_REASONS: tuple[tuple[range, range, str], ...] = (
    (
        range(_QUANTISING, 100),
        range(_QUANTISING),
        "quantisation writes an ONNX graph of integers, whose weights can neither be trained nor removed any more",
    ),
    (
        range(_CAST, _CAST + 1),
        range(_CAST),
        "training and clustering want weights in full precision, and a cast has rounded them",
    ),
    (
        range(_SHARING, _SHARING + 1),
        range(_SHARING),
        "tuning would move the weights off their shared values, and a codebook does not fit what is left of a layer",
    ),
    (
        range(_CHANNELS, _SHARING),
        range(_STUDENT, _STUDENT + 1),
        "distillation starts a new, narrower network, and what was pruned before would be thrown away",
    ),
    (
        range(_WEIGHTS, _SHARING),
        range(_CHANNELS, _CHANNELS + 1),
        "removing channels reads the norms of whole channels and tunes without a mask: the zeros would be lost",
    ),
)
_SAME = {
    _STUDENT: "a student is made once, of half the width",
    _CHANNELS: "channels are removed once; ask for the larger share in one step",
    _WEIGHTS: "both decide which single weights are zero, and the second would undo the first",
    _SHARING: "a second codebook would only round the first",
    _CAST: "the weights have one type in the end",
    _QUANTISING: "the weights are integers already",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the results of tuning are kept, and what tells them apart beside the steps.

    Attributes:
        source_sha256: Of the model that the steps start from.
        shipped: Folder of the tuned weights that ship with the workload, one folder a variant; `None` for a user's
            own data.
        folder: Of the results tuned on this machine.
        data: Identity of the data that tuning sees.
        seed: Of the tuning.
        budget_s: Longest that tuning may take; `None` for a technique's own number of steps.
    """

    source_sha256: str
    shipped: Path | None
    folder: Path
    data: str
    seed: int
    budget_s: float | None

    def identity(self, steps: Sequence[StepSpec]) -> str:
        """Return what decides the network after these steps, beside the source; empty if none of them tunes.

        Raises:
            UsageError: If a step names a teacher that is not there.
        """
        lengths = _tuned_lengths(steps)
        if not lengths:
            return ""
        parts = [TUNING_REVISION, self.source_sha256, [step.model_dump() for step in steps]]
        shipped = [find_tuned(self.shipped, self.source_sha256, steps[:length]) for length in lengths]
        if shipped[0] is None:  # otherwise nothing is tuned here, and what would decide that does not matter
            parts += [self.data, self.seed, self.budget_s, *_teachers(steps)]
        parts += [hash_files(sorted(folder.iterdir())) for folder in shipped if folder is not None][:1]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def find(self, steps: Sequence[StepSpec]) -> tuple[Path, str] | None:
        """Return the folder of exactly these steps and where it is from; `None` if they were not tuned yet."""
        shipped = find_tuned(self.shipped, self.source_sha256, steps)
        if shipped is not None:
            return shipped, "shipped"
        own = self.place(steps)
        return (own, "cache") if (own / TUNED_FILE).exists() else None

    def place(self, steps: Sequence[StepSpec]) -> Path:
        """Return where the result of these steps is kept on this machine."""
        return self.folder / self.identity(steps)[:32]


def _teachers(steps: Sequence[StepSpec]) -> list[str]:
    """Return the hashes of the models that steps learn from: a step knows a teacher by name only."""
    names = (step.options.get("teacher") for step in steps if step.technique == "distill")
    return [resolve_source(str(name)).sha256 for name in names if name is not None]


def _tuned_lengths(steps: Sequence[StepSpec]) -> list[int]:
    """Return the lengths of the prefixes that end in a technique that tunes, the longest first."""
    return [index + 1 for index in reversed(range(len(steps))) if TECHNIQUES.get(steps[index].technique).tunes]


def check_order(variant: str, steps: Sequence[StepSpec]) -> None:
    """Refuse steps in an order that makes no sense.

    Raises:
        UsageError: Saying which two, why, and the order that makes sense.
    """
    orders = [TECHNIQUES.get(step.technique).order for step in steps]
    _check_numbers(variant, steps, orders)
    for index, (one, other) in enumerate(zip(orders, orders[1:], strict=False)):
        if other > one:
            continue
        first, second = steps[index].technique, steps[index + 1].technique
        # Two patterns of zeros share their place among the steps, and neither order of them would do.
        hint = "leave one of them out"
        if other < one:
            sound = sorted(zip(orders, steps, strict=True), key=lambda pair: pair[0])
            hint = f"the order that works is {', then '.join(step.technique for _, step in sound)}"
        raise UsageError(
            f"the steps of variant `{variant}` make no sense in this order",
            cause=f"`{second}` follows `{first}`: {_reason(one, other)}",
            hint=hint,
        )


def _check_numbers(variant: str, steps: Sequence[StepSpec], orders: Sequence[int]) -> None:
    """Refuse a cast beside quantisation, in whichever order: both decide in which numbers the weights end."""
    cast = next((step.technique for step, order in zip(steps, orders, strict=True) if order == _CAST), None)
    other = next((step.technique for step, order in zip(steps, orders, strict=True) if order >= _QUANTISING), None)
    if cast is None or other is None:
        return
    raise UsageError(
        f"the steps of variant `{variant}` make no sense together",
        cause=f"`{other}` and `{cast}`: quantisation reads fp32 weights and writes integers; weights that were cast "
        "stay as they are under the label of the quantisation, and integers cannot be cast any more",
        hint=f"leave one of them out: `{other}` alone makes the smaller numbers",
    )


def _reason(first: int, second: int) -> str:
    if first == second:
        return _SAME.get(first, "both do the same work")
    found = (why for earlier, later, why in _REASONS if first in earlier and second in later)
    return next(found, "it would undo what came before")


def apply_module_steps(
    network: Network, steps: Sequence[StepSpec], context: Context, *, kept: Kept
) -> tuple[Network, dict[str, Any]]:
    """Apply the steps on the network, in order; what was tuned before, here or by those who ship it, is read.

    Args:
        network: Uncompressed; it may be changed.
        steps: Those on the network itself; none is fine.
        context: What they may use.
        kept: Where tuned results are, and where new ones go.

    Returns:
        The network, and what the steps found out: `steps` (by technique), `tuned` (`shipped`, `cache` or `now`, with
        seed, data and budget; absent if nothing was tuned) and `stored_bytes` (packed; absent without steps).

    Raises:
        UsageError: If the tuned weights that ship with the workload are of another model than its own.
    """
    from leptonbench.compression.packing import packed_size
    from leptonbench.compression.tuned import load_tuned

    if not steps:
        return network, {}
    if kept.shipped is not None and _is_own_model(kept.shipped, context.source):
        check_shipped(kept.shipped, kept.source_sha256)
    found: dict[str, Any] = {}
    tuned: dict[str, Any] = {}
    done, settings = 0, context.source
    for length in _tuned_lengths(steps):
        place = kept.find(steps[:length])
        if place is not None:
            network, document = load_tuned(place[0], context.load_network)
            found, tuned = document["facts"], {"from": place[1], **document["origin"]}
            done, settings = length, place[0]
            break
    for index in range(done, len(steps)):
        technique = steps[index].technique
        if TECHNIQUES.get(technique).tunes:
            settings = _tune(network, steps[: index + 1], context, kept=kept, settings=settings, found=found)
            network, document = load_tuned(settings, context.load_network)
            found, tuned = document["facts"], {"from": "now", **_origin(kept)}
        else:
            notes: dict[str, Any] = {}
            heard = replace(context, note=notes.__setitem__)
            network = TECHNIQUES.get(technique)().apply(network, steps[index].options, heard)
            found = {**found, technique: notes}
    facts: dict[str, Any] = {"steps": found, "stored_bytes": packed_size(network)}
    return network, facts | ({"tuned": tuned} if tuned else {})


def _tune(
    network: Network, steps: Sequence[StepSpec], context: Context, *, kept: Kept, settings: Path, found: dict[str, Any]
) -> Path:
    """Apply the last of the steps, which tunes, and return the folder that keeps the result.

    Args:
        network: After the steps before.
        steps: All, in order.
        context: What they may use.
        kept: Where the result goes.
        settings: The folder whose configuration the network is built from: a step before may have made a student.
        found: What the steps before found out.
    """
    from leptonbench.compression.tuned import save_tuned

    place = kept.place(steps)
    checkpoints = kept.folder / "checkpoints" / place.name
    checkpoints.mkdir(parents=True, exist_ok=True)
    notes: dict[str, Any] = {}

    def tuning() -> Tuning:
        return replace(context.tuning(), checkpoints=checkpoints)

    technique = TECHNIQUES.get(steps[-1].technique)()
    heard = replace(context, tuning=tuning, note=notes.__setitem__)
    network = technique.apply(network, steps[-1].options, heard)
    scratch = Path(tempfile.mkdtemp(prefix="making-", dir=kept.folder))
    try:
        save_tuned(
            scratch,
            network,
            source=settings,
            source_sha256=kept.source_sha256,
            steps=steps,
            origin=_origin(kept),
            facts={**found, steps[-1].technique: notes},
            load_network=context.load_network,
        )
        scratch.chmod(0o755)  # mkdtemp keeps other users out
        if not place.exists():
            scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return place


def _origin(kept: Kept) -> dict[str, Any]:
    return {"seed": kept.seed, "data": kept.data, "budget_s": kept.budget_s}


def _is_own_model(shipped: Path, source: Path) -> bool:
    """Say whether a model is the one that lies beside the tuned weights, in the workload's folder."""
    return source.resolve().parent == shipped.resolve().parent
