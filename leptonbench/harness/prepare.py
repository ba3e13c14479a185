"""Make artifacts: load, compress, export; each step cached by the hash of everything it depends on.

Runs as a child process (`python -m leptonbench.harness.prepare FOLDER`), so that torch and transformers never enter
the parent, and imports them only when something is not in the cache yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from leptonbench.errors import LeptonError, MeasurementError, UsageError
from leptonbench.harness.child import main
from leptonbench.harness.jobs import JOB_FILE, RESULT_FILE, Failure, PrepareJob, PrepareResult, write_message
from leptonbench.harness.kitchen import Kitchen
from leptonbench.schema import Artifact


def prepare(job: PrepareJob, say: Callable[[str], None]) -> PrepareResult:
    """Make every target; one that fails does not stop the others.

    Raises:
        LeptonError: If the model or the data themselves cannot be read.
    """
    kitchen = Kitchen(job, say)
    artifacts: dict[str, Artifact] = {}
    failures: dict[str, Failure] = {}
    for target in job.targets:
        try:
            artifacts[target.key] = kitchen.make(target)
        except UsageError:
            raise
        except LeptonError as error:
            failures[target.key] = Failure.of(error)
        except Exception as error:  # a converter's defect costs this artifact, not the run
            cause = str(error).strip().splitlines()[0] if str(error).strip() else ""
            wrapped = MeasurementError(
                f"variant `{target.variant.name}` cannot be made as {target.format}",
                cause=f"{type(error).__name__}: {cause}",
                hint="set LEPTONBENCH_DEBUG=1 to see the whole traceback",
            )
            failures[target.key] = Failure.of(wrapped)
            sys.excepthook(type(error), error, error.__traceback__)
    return PrepareResult(
        artifacts=artifacts,
        failures=failures,
        cached=tuple(kitchen.reused),
        data_sha256=kitchen.data_sha256,
        model_dir=kitchen.reference.model_dir,
        notices=kitchen.notices,
    )


def _work(folder: Path) -> None:
    job = PrepareJob.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    try:
        result = prepare(job, lambda text: print(text, flush=True))  # noqa: T201 - the pipe to the parent
    except LeptonError as error:
        result = PrepareResult(error=Failure.of(error))
    write_message(folder / RESULT_FILE, result)


if __name__ == "__main__":
    main(_work)
