"""Make artifacts: load, compress, export; each step cached by the hash of everything it depends on.

Runs as a child process (`python -m leptonbench.harness.prepare FOLDER`), so that torch and transformers never enter
the parent, and imports them only when something is not in the cache yet.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.compression import TECHNIQUES, Compression, Context
from leptonbench.compression.source import ModelSource, hash_files, labels_of, onnx_files, resolve_source
from leptonbench.errors import LeptonError, MeasurementError, UsageError
from leptonbench.harness.child import main
from leptonbench.harness.jobs import (
    JOB_FILE,
    RESULT_FILE,
    Failure,
    PrepareJob,
    PrepareResult,
    PrepareTarget,
    TaskRef,
    write_message,
)
from leptonbench.harness.system import package_version, processing_identity
from leptonbench.schema import Artifact, StepSpec, TensorSpec
from leptonbench.tasks import TASKS, Samples, Split, Task
from leptonbench.tasks.images import ImageFolder

Format = Literal["torch-export", "onnx"]

RECIPE_REVISION = 1  # raise when the code below changes what any step produces
_FILES: dict[Format, str] = {"torch-export": "model.pt2", "onnx": "model.onnx"}


def build_task(reference: TaskRef) -> Task:
    """Build the task that a job refers to."""
    model_dir = Path(reference.model_dir) if reference.model_dir else None
    images = Path(reference.images) if reference.images else None
    task: Task = TASKS.get(reference.name)(model_dir, reference.data, images=images)
    return task


class Made(NamedTuple):
    """A cached file: its key and where it is."""

    key: str
    path: Path


class Kitchen:
    """Everything needed to make one workload's artifacts, loaded when first asked for.

    Args:
        job: What to make.
        say: Told each step that is not found in the cache.
    """

    def __init__(self, job: PrepareJob, say: Callable[[str], None]) -> None:
        self.job = job
        self.say = say
        self.cache = Path(job.cache) / "artifacts"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.source = resolve_source(job.model, Path(job.base) if job.base else None)
        # A model from the hub is known by a name; its folder, with its pre-processing, only once it is here.
        self.reference = job.task.model_copy(update={"model_dir": job.task.model_dir or str(self.source.folder)})
        self.task = build_task(self.reference)
        self.reused: list[str] = []

    @functools.cached_property
    def calibration(self) -> Samples:
        """Return the calibration split."""
        return self.task.samples(Split.CALIBRATION)

    @functools.cached_property
    def sample_shape(self) -> tuple[int, ...]:
        """Return the shape of one encoded sample."""
        return self.task.encode(self.calibration.raw(0)).shape

    @functools.cached_property
    def data_sha256(self) -> str:
        """Return the hash of the evaluation data's identity, for the cache of scores."""
        return _data_hash(self.job.task, self.task.samples(Split.EVALUATION))

    def calibration_batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the calibration samples, encoded, as batches of one."""
        for index in range(len(self.calibration)):
            yield self.task.encode(self.calibration.raw(index))[None]

    def cached(self, inputs: dict[str, Any], file: str, make: Callable[[Path], None]) -> Made:
        """Return the file made from `inputs`, making it only if it is not there."""
        inputs = {**inputs, "revision": RECIPE_REVISION, "shape": self.sample_shape}
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        folder = self.cache / key[:32]
        if (folder / file).exists():
            self.reused.append(key)
            return Made(key, folder / file)
        scratch = Path(tempfile.mkdtemp(prefix="making-", dir=self.cache))
        try:
            make(scratch / file)
            (scratch / "inputs.json").write_text(json.dumps(inputs, indent=1), encoding="utf-8")
            if not folder.exists():
                scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Made(key, folder / file)

    def make(self, target: PrepareTarget) -> Artifact:
        """Make one artifact: module steps, export, graph steps.

        Raises:
            UsageError: If the steps are out of order, or the source cannot become the format.
        """
        steps = target.variant.steps
        techniques = [TECHNIQUES.get(step.technique)() for step in steps]
        module_steps = tuple(s for s, t in zip(steps, techniques, strict=True) if t.stage == "module")
        if steps[: len(module_steps)] != module_steps:
            raise UsageError(
                f"the steps of variant `{target.variant.name}` are out of order",
                cause="a step on the PyTorch module follows one on the ONNX graph",
                hint="write casting, pruning and distillation before quantisation",
            )
        made = self.export(module_steps, target.format)
        for step, technique in zip(steps[len(module_steps) :], techniques[len(module_steps) :], strict=True):
            made = self.graph_step(made, step, technique)
        return self.describe(made, target)

    def export(self, steps: tuple[StepSpec, ...], kind: Format) -> Made:
        """Turn the source, after its module steps, into the format."""
        if self.source.kind == "onnx":
            return self.adopt_onnx(steps, kind)
        inputs = {
            "source": self.source.sha256,
            "format": kind,
            "steps": [step.model_dump() for step in steps],
            "versions": {name: package_version(name) for name in ("torch", "transformers", "onnx", "onnxscript")},
        }

        def make(path: Path) -> None:
            from leptonbench.compression import export

            self.say(f"export {kind}" + "".join(f" + {step.technique}" for step in steps))
            module = export.load_classifier(self.source)
            for step in steps:
                context = self.context(path.parent)
                module = TECHNIQUES.get(step.technique)().apply(module, step.options, context)
            if kind == "onnx":
                export.export_onnx(module, self.sample_shape, path=path)
                return
            macs, parameters = export.count_module(module, self.sample_shape)
            taken, given = export.export_program(module, self.sample_shape, path=path)
            facts = {
                "inputs": taken.model_dump(),
                "outputs": given.model_dump(),
                "macs": macs,
                "parameters": parameters,
            }
            (path.parent / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

        return self.cached(inputs, _FILES[kind], make)

    def adopt_onnx(self, steps: tuple[StepSpec, ...], kind: Format) -> Made:
        """Take a user's ONNX file as it is, once its input is known to fit the data."""
        if kind != "onnx" or steps:
            raise UsageError(
                f"`{self.source.name}` is ONNX and cannot go through {kind} or steps on a PyTorch module",
                hint="give the Hugging Face folder it was exported from",
            )
        check_onnx_input(self.source, self.sample_shape)
        check_onnx_classes(self.source, data_classes(self.task.samples(Split.EVALUATION)))
        return Made(self.source.sha256, self.source.path)

    def graph_step(self, model: Made, step: StepSpec, technique: Compression) -> Made:
        """Apply one ONNX step."""
        inputs: dict[str, Any] = {
            "model": model.key,
            "step": step.model_dump(),
            "versions": {name: package_version(name) for name in ("onnx", "onnxruntime")},
        }
        if technique.uses_calibration:
            inputs["calibration"] = _data_hash(self.job.task, self.calibration)
            inputs["processing"] = processing_identity(self.reference.model_dir)

        def make(path: Path) -> None:
            self.say(f"{step.technique}")
            workdir = path.parent / "work"
            workdir.mkdir()
            made = technique.apply(model.path, step.options, self.context(workdir, model.path))
            shutil.move(made, path)
            shutil.rmtree(workdir)

        return self.cached(inputs, "model.onnx", make)

    def context(self, workdir: Path, model: Path | None = None) -> Context:
        """Return what a step may use."""
        name = "pixel_values"
        if model is not None:
            from leptonbench.compression.graph import inspect_graph

            name = inspect_graph(model).inputs[0].name
        return Context(calibration=self.calibration_batches, input_name=name, workdir=workdir)

    def describe(self, made: Made, target: PrepareTarget) -> Artifact:
        """Count and hash a finished file."""
        if target.format == "onnx":
            from leptonbench.compression.graph import inspect_graph

            inputs, outputs, macs, parameters = inspect_graph(made.path)
            files = onnx_files(made.path)
        else:
            files = [made.path]
            facts = json.loads((made.path.parent / "facts.json").read_text(encoding="utf-8"))
            inputs, outputs = (TensorSpec(**facts["inputs"]),), (TensorSpec(**facts["outputs"]),)
            macs, parameters = facts["macs"], facts["parameters"]
        return Artifact(
            format=target.format,
            path=str(made.path),
            sha256=hash_files(files),
            recipe=target.variant.steps,
            precision=target.variant.precision,
            inputs=inputs,
            outputs=outputs,
            size_bytes=sum(file.stat().st_size for file in files),
            macs=macs,
            parameters=parameters,
        )


def check_onnx_input(source: ModelSource, sample_shape: tuple[int, ...]) -> None:
    """Refuse an ONNX model that cannot take the task's samples.

    Raises:
        UsageError: If it has several inputs, or one of another shape or type.
    """
    from leptonbench.compression.graph import inspect_graph

    inputs = inspect_graph(source.path).inputs
    wanted = (None, *sample_shape)
    if len(inputs) == 1 and inputs[0].dtype == "float32" and len(inputs[0].shape) == len(wanted):
        pairs = zip(inputs[0].shape, wanted, strict=True)
        if all(have is None or need is None or have == need for have, need in pairs):
            return
    found = ", ".join(f"{spec.name}: {spec.dtype}{_shape(spec.shape)}" for spec in inputs)
    raise UsageError(
        f"`{source.name}` does not take this workload's samples",
        cause=f"its inputs are {found}; the samples are float32{_shape(wanted)}",
        hint="export the model with one image input, or put its preprocessor_config.json beside the .onnx file",
    )


def check_onnx_classes(source: ModelSource, classes: tuple[str, ...]) -> None:
    """Refuse an ONNX model that gives another number of logits than the data has classes.

    Raises:
        UsageError: If the count is stated in the graph and differs.
    """
    from leptonbench.compression.graph import inspect_graph

    sizes = inspect_graph(source.path).outputs[0].shape[1:]
    if not sizes or None in sizes or math.prod(size or 0 for size in sizes) == len(classes):
        return
    raise UsageError(
        "the model's classes are not those of the data",
        cause=f"model: {math.prod(size or 0 for size in sizes)} logits; data: {len(classes)} classes "
        f"({', '.join(classes[:8])})",
        hint="give one class folder for each logit, in the logits' order when sorted by name",
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return (
        "[" + ", ".join("batch" if size is None and i == 0 else str(size or "?") for i, size in enumerate(shape)) + "]"
    )


def _data_hash(reference: TaskRef, samples: Samples) -> str:
    """Hash what the samples are: the user's files, or the generator's seed and size."""
    if isinstance(samples, ImageFolder):
        labels = ",".join(str(label) for _, label in samples.files)
        return hashlib.sha256(f"{hash_files([path for path, _ in samples.files])} {labels}".encode()).hexdigest()
    from leptonbench.tasks.surface import GENERATOR_VERSION

    identity = f"{reference.name} v{GENERATOR_VERSION} {reference.data.model_dump_json()} {len(samples)}"
    return hashlib.sha256(identity.encode()).hexdigest()


def data_classes(samples: Samples) -> tuple[str, ...]:
    """Return the names of the data's classes, in the order of their indices."""
    from leptonbench.tasks.surface import CLASSES

    return samples.classes if isinstance(samples, ImageFolder) else CLASSES


def check_classes(kitchen: Kitchen) -> None:
    """Refuse a model whose classes are not those of the data: its score would mean nothing.

    Raises:
        UsageError: If the counts or the names differ.
    """
    classes = data_classes(kitchen.task.samples(Split.EVALUATION))
    labels = labels_of(kitchen.source)
    if labels is not None and tuple(label.casefold() for label in labels) != tuple(c.casefold() for c in classes):
        raise UsageError(
            "the model's classes are not those of the data",
            cause=f"model: {', '.join(labels[:8])}; data: {', '.join(classes[:8])}",
            hint="name the class folders as the model's id2label does, in the same (alphabetical) order",
        )


def prepare(job: PrepareJob, say: Callable[[str], None]) -> PrepareResult:
    """Make every target; one that fails does not stop the others.

    Raises:
        LeptonError: If the model or the data themselves cannot be read.
    """
    kitchen = Kitchen(job, say)
    check_classes(kitchen)
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
