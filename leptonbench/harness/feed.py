"""From a job to a task, and from a task's samples to what an artifact takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leptonbench.harness.jobs import TaskRef
from leptonbench.schema import TensorSpec
from leptonbench.tasks import TASKS, Arrays, Task, TaskSetup


def build_task(reference: TaskRef) -> Task:
    """Build the task that a job refers to."""
    setup = TaskSetup(
        model_dir=Path(reference.model_dir) if reference.model_dir else None,
        data=reference.data,
        own=Path(reference.own) if reference.own else None,
        workload_dir=Path(reference.workload_dir) if reference.workload_dir else None,
    )
    task: Task = TASKS.get(reference.name)(setup)
    return task


def named_for(sample: Arrays, inputs: Sequence[TensorSpec]) -> Arrays:
    """Give a sample's tensors the names of an artifact's inputs: by name where they agree, else in order.

    A user's ONNX file has names of its own; that the tensors fit was checked when it was taken in. Tensors that the
    artifact does not take (a mask, where it has none) are left out.
    """
    names = [spec.name for spec in inputs]
    if set(names) <= set(sample):
        return {name: sample[name] for name in names}
    return dict(zip(names, sample.values(), strict=False))
