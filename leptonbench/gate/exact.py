"""Figures that the same inputs always give: counted on what was prepared, compared for equality.

A change, for better or worse, is either meant, and then a line in the accepted-changes file says so, or it is not.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from leptonbench.compression.graph import infer_shapes
from leptonbench.errors import UsageError
from leptonbench.gate.model import Finding, Layer, SideCell, Verdict
from leptonbench.schema import Artifact, Frozen, Provenance, Quantity

Value = int | str

UNITS = {"model_bytes": "B", "peak_activation_bytes": "B", "peak_allocator_bytes": "B"}
_ALLOCATOR = "the engine tells no program the peak of its allocator; `peak_activation_bytes` is counted on the graph"
_TORCH = "counted on ONNX graphs, and this engine loads a torch.export program"
_FPGA = "the cell's backend has no cycles"


class Counted(NamedTuple):
    """Exact metrics of a prepared model, and those that it has none of, with the reason."""

    values: dict[str, Value]
    absent: dict[str, str]


def count(artifact: Artifact, *, cycles: int | None = None) -> Counted:
    """Count what is exact on an artifact.

    Args:
        artifact: Prepared, on this machine.
        cycles: Of one inference, where the backend simulates a device clock by clock.
    """
    values: dict[str, Value] = {
        "macs": artifact.macs,
        "parameters": artifact.parameters,
        "model_bytes": artifact.size_bytes,
    }
    absent = {"peak_allocator_bytes": _ALLOCATOR}
    parts = [part for part in (artifact, artifact.follower) if part is not None]
    if artifact.format == "onnx":
        for part in parts:
            for name, value in _graph(Path(part.path)).items():
                before = values.get(name)
                values[name] = value if before is None else _joined(before, value)
        if "peak_activation_bytes" not in values:
            absent["peak_activation_bytes"] = "the shapes of its tensors cannot be inferred"
    else:
        absent |= dict.fromkeys(("nodes", "operators", "peak_activation_bytes"), _TORCH)
    if cycles is None:
        absent["cycles"] = _FPGA
    else:
        values["cycles"] = cycles
    return Counted(values, absent)


def _joined(first: Value, second: Value) -> Value:
    return first + second if isinstance(first, int) and isinstance(second, int) else f"{first}; {second}"


def _graph(path: Path) -> dict[str, Value]:
    """Count an ONNX file's nodes, operators and live activations."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    operators = Counter(node.op_type for node in model.graph.node)
    found: dict[str, Value] = {
        "nodes": sum(operators.values()),
        "operators": " ".join(f"{name}:{number}" for name, number in sorted(operators.items())),
    }
    peak = peak_activation_bytes(model)
    return found | ({"peak_activation_bytes": peak} if peak is not None else {})


def peak_activation_bytes(model: Any) -> int | None:
    """Return the most bytes of activations that are alive at once, in the graph's own order and for one sample.

    A tensor lives from the node that makes it to the last that reads it; inputs live from the start and outputs to the
    end. Engines fuse and reuse, so theirs is another number; this one is exact and moves when the graph does.

    Args:
        model: An onnx `ModelProto`, which is changed; free dimensions count as one.

    Returns:
        `None` where a tensor's shape cannot be inferred.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    try:
        graph = infer_shapes(model)
    except UsageError:
        return None
    sizes = {value.name: _tensor_bytes(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    inputs = [value.name for value in graph.input if value.name not in constants]
    made = [name for node in graph.node for name in node.output if name]
    if any(sizes.get(name) is None for name in (*inputs, *made)):
        return None
    last: dict[str, int] = {name: index for index, node in enumerate(graph.node) for name in node.input}
    last |= {value.name: len(graph.node) for value in graph.output}
    alive: dict[str, int] = {name: sizes[name] or 0 for name in inputs}
    peak = sum(alive.values())
    for index, node in enumerate(graph.node):
        alive |= {name: sizes[name] or 0 for name in node.output if name}
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, index) > index}
    return peak


def _tensor_bytes(value: Any) -> int | None:
    import numpy as np
    import onnx

    kind = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if not kind.HasField("shape") or None in sizes:
        return None
    width = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
    return int(math.prod(size for size in sizes if size is not None) * width)


class Accepted(Frozen):
    """A change that is meant.

    Attributes:
        cell: The head's cell by its key or the beginning of it, by whole parts; empty for every cell.
        metric: Which exact metric.
        base: The base's value.
        head: The head's.
        reason: Why, for those who read the file later.
    """

    cell: str = ""
    metric: str
    base: Value
    head: Value
    reason: str


class _File(Frozen):
    accept: tuple[Accepted, ...] = ()


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """Read an accepted-changes file: a list of `[[accept]]` tables.

    Raises:
        UsageError: If it cannot be read, or an entry lacks a key or its reason.
    """
    hint = "an entry is `[[accept]]` with metric, base, head and reason; the gate prints it ready to be pasted"
    try:
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", cause=error.strerror or str(error), hint=hint) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`{path}` is not TOML", cause=str(error), hint=hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"`{path}` is malformed", cause=f"`{where}`: {first['msg']}", hint=hint) from error
    if (bare := next((item for item in found.accept if not item.reason.strip()), None)) is not None:
        raise UsageError(f"`{path}` accepts a change of `{bare.metric}` without a reason", hint=hint)
    return found.accept


def judge_exact(base: SideCell, head: SideCell, accepted: Sequence[Accepted]) -> tuple[Finding, ...]:
    """Compare the exact metrics of both sides of a cell."""
    return tuple(_judge(metric, (base, head), accepted) for metric in dict.fromkeys((*base.exact, *head.exact)))


def _why(metric: str, base: SideCell, head: SideCell) -> str:
    return base.absent.get(metric) or head.absent.get(metric) or "one side does not know it"


def _judge(metric: str, sides: tuple[SideCell, SideCell], accepted: Sequence[Accepted]) -> Finding:
    before, after = (side.exact.get(metric) for side in sides)
    cell = sides[1].cell.key
    if before is None or after is None:
        side = "base" if before is None else "head"
        return Finding(
            layer=Layer.EXACT,
            metric=metric,
            verdict=Verdict.INCOMPARABLE,
            reason=f"the {side} has no `{metric}`: {_why(metric, *sides)}",
            hint="prepare both sides with the same leptonbench and the same backend",
        )
    quantities = {"base": _quantity(metric, before), "head": _quantity(metric, after)}
    stated = None if isinstance(before, int) else (str(before), str(after))
    if before == after:
        return Finding(
            layer=Layer.EXACT, metric=metric, verdict=Verdict.PASS, reason="equal", stated=stated, **quantities
        )
    entry = next((item for item in accepted if _fits(item, metric, before, after, cell)), None)
    if entry is not None:
        reason = f"changed, and accepted: {entry.reason}"
        return Finding(
            layer=Layer.EXACT, metric=metric, verdict=Verdict.PASS, reason=reason, stated=stated, **quantities
        )
    return Finding(
        layer=Layer.EXACT,
        metric=metric,
        verdict=Verdict.CHANGED,
        reason=f"{_worded(before, after)}, and no entry accepts it",
        hint=f"if it is meant, accept it:\n{entry_text(cell, metric, before, after)}",
        stated=stated,
        **quantities,
    )


def _fits(entry: Accepted, metric: str, before: Value, after: Value, cell: str) -> bool:
    here = not entry.cell or f"{cell}--".startswith(f"{entry.cell}--")
    return here and entry.metric == metric and (entry.base, entry.head) == (before, after)


def _worded(before: Value, after: Value) -> str:
    if isinstance(before, int) and isinstance(after, int):
        share = f" ({after / before - 1:+.1%})" if before else ""
        return f"{before:,} became {after:,}{share}"
    return f"`{before}` became `{after}`"


def entry_text(cell: str, metric: str, before: Value, after: Value) -> str:
    """Return the entry of an accepted-changes file that accepts a change, but for its reason.

    It names the cell without batch, threads and instances: they follow from the machine, and the counts do not.
    """
    quoted: Mapping[str, str] = {
        name: str(value) if isinstance(value, int) else f'"{value}"'
        for name, value in (("base", before), ("head", after))
    }
    return (
        f'[[accept]]\ncell = "{cell.rpartition("--")[0]}"\nmetric = "{metric}"\n'
        f'base = {quoted["base"]}\nhead = {quoted["head"]}\nreason = ""'
    )


def _quantity(metric: str, value: Value) -> Quantity | None:
    if isinstance(value, str):
        return None
    return Quantity(
        value=value, unit=UNITS.get(metric, "1"), provenance=Provenance.MEASURED, method="counted; the same every time"
    )
