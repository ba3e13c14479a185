"""Tasks: data, the way in and out of a model, quality. One file a task; none imports an engine at module level."""

from __future__ import annotations

from leptonbench.registry import Registry
from leptonbench.tasks.base import Arrays, Coupling, Metric, Samples, Split, Task, TaskSetup, stack

TASKS: Registry[type] = Registry(
    "task",
    {
        "detection": "leptonbench.tasks.detection:DetectionTask",
        "inspection": "leptonbench.tasks.inspection:InspectionTask",
        "speech": "leptonbench.tasks.speech:SpeechTask",
        "tabular": "leptonbench.tasks.tabular:TabularTask",
    },
    group="leptonbench.tasks",
)

__all__ = ["TASKS", "Arrays", "Coupling", "Metric", "Samples", "Split", "Task", "TaskSetup", "stack"]
