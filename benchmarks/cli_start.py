"""How soon the command line answers, and what a worker for an ONNX cell imports."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.common import COMMAND, ROOT, Outcome, of_interval, options, tell

GOAL_S = 0.4
_HEAVY = ("torch", "transformers", "pandas", "matplotlib", "onnx", "onnxruntime", "openvino", "pyarrow", "scipy")
_WORKER = """
import json, sys
from leptonbench.backends import BACKENDS
from leptonbench.harness import worker
from leptonbench.tasks import TASKS
BACKENDS.get("onnxruntime"), TASKS.get("inspection")
import onnxruntime
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def main() -> None:
    """Measure and tell."""
    chosen = options(__doc__ or "", runs=20)
    times_s = []
    for _ in range(chosen.runs + 1):
        started = time.perf_counter()
        subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        times_s.append(time.perf_counter() - started)
    times_s = times_s[1:]  # the first may write byte code
    started = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", _WORKER], check=True, capture_output=True, text=True, cwd=ROOT)
    worker_s = time.perf_counter() - started
    modules = json.loads(shown.stdout)
    heavy = [name for name in _HEAVY if name in modules]
    tell(
        "cli_start",
        [
            of_interval("leptonbench --help", times_s, "s", goal=GOAL_S),
            Outcome("torch in a worker for ONNX", float("torch" in modules), "modules", 0.0),
            Outcome("imports of a worker for ONNX", worker_s, "s"),
        ],
        times_s=times_s,
        worker_heavy_modules=heavy,
        worker_modules=modules,
    )
    print(f"  of the heavy packages a worker for an ONNX cell imports: {', '.join(heavy)}\n")


if __name__ == "__main__":
    main()
