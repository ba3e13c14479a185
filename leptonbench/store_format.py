"""What is in a run folder's files: versions and their migration, JSON into models, latencies as Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from leptonbench.atomic import storage_error
from leptonbench.errors import StorageError
from leptonbench.schema import SCHEMA_VERSION, Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

F = TypeVar("F", bound=Frozen)
Json = dict[str, Any]


def _from_1(kind: str, document: Json) -> Json:
    """Write a workload's allowed loss as the share to keep, and an exclusion's axes as lists.

    The loss was in points and the share is of fp32's value; verdicts are kept in the records, so this is for display.
    """
    if kind != "manifest":
        return document
    workloads = [dict(workload) for workload in document["workloads"]]
    for workload in workloads:
        quality = dict(workload["quality"])
        quality["relative_floor"] = 1 - quality.pop("max_drop")
        workload["quality"] = quality
    suite = dict(document["suite"])
    suite["exclude"] = [
        {axis: value for axis, value in rule.items() if value is not None} for rule in suite.get("exclude", ())
    ]
    return {**document, "workloads": workloads, "suite": suite}


def _from_2(kind: str, document: Json) -> Json:
    """Leave out what nothing obeyed: whether a workload's metric is better the higher it is."""
    if kind != "manifest":
        return document
    workloads = [dict(workload) for workload in document["workloads"]]
    for workload in workloads:
        workload["quality"] = {k: v for k, v in workload["quality"].items() if k != "higher_is_better"}
    return {**document, "workloads": workloads}


MIGRATIONS: dict[int, Callable[[str, Json], Json]] = {1: _from_1, 2: _from_2}
"""By the version it starts from: takes the kind (`manifest`, `cell`, `round`) and a document to the next version."""


def migrate(kind: str, document: Json, version: int) -> Json:
    """Take a document of an older version to the present one, step by step.

    Args:
        kind: `manifest`, `cell` or `round`.
        document: As read from its file.
        version: The version it was written in.

    Raises:
        StorageError: If no step leads on from a version.
    """
    for step in range(version, SCHEMA_VERSION):
        if step not in MIGRATIONS:
            raise StorageError(f"a {kind} of format version {step} is too old", hint="measure again")
        document = MIGRATIONS[step](kind, document)
    if "schema_version" in document:
        document = {**document, "schema_version": SCHEMA_VERSION}
    return document


def version_of(path: Path, document: Json) -> int:
    """Return the format version a document was written in.

    Raises:
        StorageError: If it says none, or one newer than this leptonbench.
    """
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StorageError(f"`{path}` is damaged", cause="it has no schema_version", hint="restore it from a copy")
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"`{path}` was written by a newer leptonbench",
            cause=f"its format is version {version}; this leptonbench reads up to {SCHEMA_VERSION}",
            hint="upgrade with `pip install --upgrade leptonbench`",
        )
    return version


def read_json(path: Path) -> Json:
    """Read a file that holds a JSON object.

    Raises:
        StorageError: If it cannot be read or holds anything else.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise storage_error(path, error, doing="read") from error
    except ValueError as error:
        raise StorageError(f"`{path}` is damaged", cause=str(error), hint="restore it from a copy") from error
    if not isinstance(document, dict):
        raise StorageError(f"`{path}` is damaged", cause="it is no JSON object", hint="restore it from a copy")
    return document


def parse(path: Path, model: type[F], document: Json, *, kind: str) -> F:
    """Bring a document to the present version and into its model.

    Args:
        path: Where it was read, for errors.
        model: What it is to become.
        document: What was read, with its `schema_version`.
        kind: `manifest`, `cell` or `round`: what `MIGRATIONS` are told.

    Raises:
        StorageError: If it does not fit; names the file and the key.
    """
    version = version_of(path, document)
    if "schema_version" not in model.model_fields:
        del document["schema_version"]
    try:
        return model.model_validate(migrate(kind, document, version))
    except ValidationError as caught:
        first = caught.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise StorageError(
            f"`{path}` is damaged", cause=f"`{key}`: {first['msg']}", hint="restore it from a copy"
        ) from caught


def to_parquet(latencies_s: NDArray[np.float64]) -> bytes:
    """Encode latencies as columns `query` (index from 0) and `latency_s`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = np.asarray(latencies_s, dtype=np.float64)
    table = pa.table({"query": np.arange(column.size, dtype=np.int32), "latency_s": column})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def from_parquet(path: Path) -> NDArray[np.float64]:
    """Read latencies in seconds, in the order of the queries.

    Raises:
        StorageError: If the file is not there or damaged.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(io.BytesIO(path.read_bytes()), columns=["latency_s"])["latency_s"]
    except OSError as error:
        raise storage_error(path, error, doing="read") from error
    except (pa.ArrowException, KeyError) as error:
        raise StorageError(f"`{path}` is damaged", cause=str(error), hint="measure the cell again") from error
    return np.asarray(column.to_numpy(), dtype=np.float64)
