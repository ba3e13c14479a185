"""The steps of making one workload's artifacts, and the cache that they share."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from leptonbench.compression import TECHNIQUES, Compression, Context
from leptonbench.compression.base import Tuning
from leptonbench.compression.facts import read_file_facts
from leptonbench.compression.recipe import Kept, apply_module_steps, check_order
from leptonbench.compression.source import hash_files, onnx_files, resolve_source
from leptonbench.errors import BudgetSpent, NotApplicable, UsageError
from leptonbench.harness.adopt import check_onnx_inputs
from leptonbench.harness.calibration import Calibration, Part
from leptonbench.harness.feed import build_task, named_for
from leptonbench.harness.jobs import PrepareJob, PrepareTarget
from leptonbench.harness.system import package_version, processing_identity
from leptonbench.schema import Artifact, Notice, StepSpec, TensorSpec
from leptonbench.tasks import Arrays, Samples, Split

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

Format = Literal["torch-export", "onnx"]

RECIPE_REVISION = 5  # raise when the code below changes what any step produces
_FILES: dict[Format, str] = {"torch-export": "model.pt2", "onnx": "model.onnx"}
_FACTS_FILE = "facts.json"
_FOLLOWED = "followed"  # among a graph's facts: the task's loop calls a second one
_ALONE = "cast"  # the step on networks that treats each by itself


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
        self.calibration = Calibration(self.task, self.source.path)
        self.reused: list[str] = []
        self._ends = None if job.limit_s is None else time.monotonic() + job.limit_s
        self._networks: dict[str, tuple[Network, dict[str, Any]]] = {}

    @functools.cached_property
    def evaluation(self) -> Samples:
        """Return the evaluation split."""
        return self.task.samples(Split.EVALUATION)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Return what the reader should know of how the data were read."""
        return tuple(Notice(code="data", message=text, hint="") for text in getattr(self.evaluation, "notices", ()))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each input of the typical sample."""
        return {name: array.shape for name, array in self.calibration.typical.items()}

    @functools.cached_property
    def data_sha256(self) -> str:
        """Return the hash of the evaluation data's identity, for the cache of scores."""
        return hashlib.sha256(self.evaluation.identity.encode()).hexdigest()

    def cached(self, inputs: dict[str, Any], file: str, make: Callable[[Path], None]) -> Made:
        """Return the file made from `inputs`, making it only if it is not there.

        Raises:
            BudgetSpent: If it is not there, and the job's time is up.
        """
        inputs = {**inputs, "revision": RECIPE_REVISION, "shapes": self.shapes}
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        folder = self.cache / key[:32]
        if (folder / file).exists():
            self.reused.append(key)
            return Made(key, folder / file)
        if self._ends is not None and time.monotonic() > self._ends and inputs.get("steps") != []:
            raise BudgetSpent("no time was left to make the model", hint="a larger --budget makes it")
        scratch = Path(tempfile.mkdtemp(prefix="making-", dir=self.cache))
        try:
            make(scratch / file)
            (scratch / "inputs.json").write_text(json.dumps(inputs, indent=1), encoding="utf-8")
            scratch.rename(folder)
        except OSError:
            if not (folder / file).exists():  # otherwise another child was faster
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Made(key, folder / file)

    def make(self, target: PrepareTarget) -> Artifact:
        """Make one artifact: module steps, export, graph steps.

        Raises:
            UsageError: If the steps are out of order, or the source cannot become the format.
        """
        check_order(target.variant.name, target.variant.steps)
        artifact = self.make_part(target, Part.FIRST)
        if not artifact.facts.get(_FOLLOWED):
            return artifact
        return joined(artifact, self.make_part(target, Part.FOLLOWER))

    def make_part(self, target: PrepareTarget, part: Part) -> Artifact:
        """Make one graph of an artifact: most have one."""
        steps = target.variant.steps
        techniques = [TECHNIQUES.get(step.technique)() for step in steps]
        on_module = sum(technique.stage == "module" for technique in techniques)
        made = self.export(steps[:on_module], target.format, part)
        if target.format == "onnx":  # an engine that loads programs and runs such a recipe applies these itself
            for step, technique in zip(steps[on_module:], techniques[on_module:], strict=True):
                made = self.graph_step(made, step, technique, part=part)
        return self.describe(made, target, modular=on_module == len(steps))

    def export(self, steps: tuple[StepSpec, ...], kind: Format, part: Part) -> Made:
        """Turn the source, after its module steps, into the format."""
        if self.source.kind == "onnx":
            return self.adopt_onnx(steps, kind)
        packages = ("torch", "transformers", "onnx", "onnxscript", "torch-pruning", "scikit-learn")
        inputs = {
            "source": self.source.sha256,
            "format": kind,
            "steps": [step.model_dump() for step in steps],
            "part": part.value,
            "classes": self.task.classes,  # loading checks that the model knows them
            "tuned": self.kept().identity(steps),
            "versions": {name: package_version(name) for name in packages},
        }

        def make(path: Path) -> None:
            from leptonbench.compression import export

            self.say(f"export {kind}" + "".join(f" + {step.technique}" for step in steps))
            network, facts = self.network(steps, path.parent, part)
            sample = self.calibration.typical_of(part)
            known: dict[str, Any] = {
                "facts": facts | ({_FOLLOWED: True} if network.follower else {}),
                "shapes": {name: array.shape for name, array in sample.items()},
            }
            if kind == "onnx":
                export.export_onnx(copy.deepcopy(network), sample, path=path)
            else:
                macs, parameters = export.count_network(network, sample)
                taken, given = export.export_program(network, sample, path=path)
                known |= {
                    "inputs": [spec.model_dump() for spec in taken],
                    "outputs": [spec.model_dump() for spec in given],
                    "macs": macs,
                    "parameters": parameters,
                }
            (path.parent / _FACTS_FILE).write_text(json.dumps(known), encoding="utf-8")

        return self.cached(inputs, _FILES[kind], make)

    def network(self, steps: tuple[StepSpec, ...], workdir: Path, part: Part) -> tuple[Network, dict[str, Any]]:
        """Return one of the source's networks after its module steps, made once for both formats.

        Raises:
            NotApplicable: If the model has a follower and a step would have to train or cut both as one.
        """
        key = json.dumps([part.value, *(step.model_dump() for step in steps)])
        if key not in self._networks:
            network = self.task.load_network(self.source.path)
            wanting = next((step.technique for step in steps if step.technique != _ALONE), None)
            if network.follower is not None and wanting is not None:
                raise NotApplicable(
                    f"`{wanting}` is not applied to a model of an encoder and a decoder",
                    cause="its two networks would have to be cut and tuned as one",
                    hint="casts and quantisation work on both",
                )
            chosen = network if part is Part.FIRST or network.follower is None else network.follower
            context = self.context(workdir, self.calibration.encoded)
            self._networks[key] = apply_module_steps(chosen, steps, context, kept=self.kept())
        return self._networks[key]

    def kept(self) -> Kept:
        """Say where tuned weights are looked for, and by what they are told apart."""
        workload = self.reference.workload_dir
        own = self.reference.own is not None
        generated = f"{self.reference.name} {self.job.task.data.model_dump_json()}"
        told = self.task.studied(Split.CALIBRATION).identity if own else generated
        return Kept(
            source_sha256=self.source.sha256,
            shipped=Path(workload) / "tuned" if workload and not own else None,
            folder=Path(self.job.cache) / "tuned",
            data=told,
            seed=self.job.seed,
            budget_s=self.job.tune_budget_s,
        )

    def adopt_onnx(self, steps: tuple[StepSpec, ...], kind: Format) -> Made:
        """Take a user's ONNX file as it is, once its inputs and outputs are known to fit the task."""
        if kind != "onnx" or steps:
            raise UsageError(
                f"`{self.source.name}` is ONNX and cannot go through {kind} or steps on a PyTorch network",
                hint="give the Hugging Face folder it was exported from",
            )
        check_onnx_inputs(self.source, self.calibration.typical)
        from leptonbench.compression.graph import inspect_graph

        self.task.check_outputs([spec.shape for spec in inspect_graph(self.source.path).outputs])
        return Made(self.source.sha256, self.source.path)

    def graph_step(self, model: Made, step: StepSpec, technique: Compression, *, part: Part) -> Made:
        """Apply one ONNX step."""
        inputs: dict[str, Any] = {
            "model": model.key,
            "step": step.model_dump(),
            "versions": {name: package_version(name) for name in ("onnx", "onnxruntime")},
        }
        if revision := getattr(technique, "revision", 0):  # raised where one technique's output changes
            inputs["technique_revision"] = revision
        if technique.uses_calibration:
            inputs["calibration"] = self.calibration.samples.identity
            inputs["processing"] = processing_identity(self.reference.model_dir)

        def make(path: Path) -> None:
            from leptonbench.compression.graph import inspect_graph

            self.say(f"{step.technique}")
            workdir = path.parent / "work"
            workdir.mkdir()
            named = inspect_graph(model.path).inputs
            context = self.context(workdir, lambda: (named_for(s, named) for s in self.calibration.encoded(part)))
            if part is Part.FIRST and not self.followed(model):
                context = replace(context, difference=self.calibration.difference)
            made = technique.apply(model.path, step.options, context)
            shutil.move(made, path)
            shutil.rmtree(workdir)
            if (known := model.path.parent / _FACTS_FILE).exists() and model.path.parent.parent == self.cache:
                shutil.copy(known, path.parent / _FACTS_FILE)

        return self.cached(inputs, "model.onnx", make)

    def followed(self, made: Made) -> bool:
        """Say whether a file is the first of two graphs that answer in a loop over both: alone it has no answers."""
        path = made.path.parent / _FACTS_FILE
        return path.exists() and _FOLLOWED in json.loads(path.read_text(encoding="utf-8")).get("facts", {})

    def context(self, workdir: Path, calibration: Callable[[], Iterator[Arrays]]) -> Context:
        """Return what a step may use."""
        return Context(
            calibration=calibration,
            tuning=self.tuning,
            load_network=lambda folder, weights: self.task.load_network(folder, weights=weights),
            source=self.source.folder,
            workdir=workdir,
            say=self.say,
        )

    def tuning(self) -> Tuning:
        """Return how a technique trains: on the user's data where there are some, else on the workload's own."""
        split = Split.CALIBRATION if self.reference.own else Split.TRAIN
        checkpoints = Path(self.job.cache) / "checkpoints"
        return Tuning(self.task.lesson(split), self.job.seed, checkpoints, self.job.tune_budget_s)

    def describe(self, made: Made, target: PrepareTarget, *, modular: bool) -> Artifact:
        """Count and hash a finished file.

        Args:
            made: The file.
            target: What it was made for.
            modular: Whether no graph step came after the network was exported, so that it holds the network's weights.
        """
        known: dict[str, Any] = {}
        if made.path.parent.parent == self.cache and (made.path.parent / _FACTS_FILE).exists():
            known = json.loads((made.path.parent / _FACTS_FILE).read_text(encoding="utf-8"))
        facts, shapes = known.get("facts", {}), known.get("shapes", self.shapes)
        if target.format == "onnx":
            from leptonbench.compression.graph import inspect_graph

            inputs, outputs, macs, parameters = inspect_graph(made.path, [tuple(shape) for shape in shapes.values()])
            files = onnx_files(made.path)
            if found := read_file_facts(made.path):
                facts = {**facts, "steps": {**facts.get("steps", {}), **found}}
        else:
            files = [made.path]
            inputs = tuple(TensorSpec(**spec) for spec in known["inputs"])
            outputs = tuple(TensorSpec(**spec) for spec in known["outputs"])
            macs, parameters = known["macs"], known["parameters"]
        return Artifact(
            format=target.format,
            path=str(made.path),
            sha256=hash_files(files),
            recipe=target.variant.steps,
            precision=target.variant.precision,
            inputs=inputs,
            outputs=outputs,
            size_bytes=sum(file.stat().st_size for file in files),
            stored_bytes=facts.get("stored_bytes") if modular else None,
            macs=macs,
            parameters=parameters,
            facts=facts,
        )


def joined(first: Artifact, follower: Artifact) -> Artifact:
    """Return the artifact of two graphs; its multiply-accumulates are those of one call of each."""
    return first.model_copy(
        update={
            "follower": follower,
            "sha256": hashlib.sha256((first.sha256 + follower.sha256).encode()).hexdigest(),
            "size_bytes": first.size_bytes + follower.size_bytes,
            "macs": first.macs + follower.macs,
            "parameters": first.parameters + follower.parameters,
        }
    )
