"""What a process imports: the parent no engine, a worker its own, preparation none until there is something to make."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENGINES = {"onnxruntime", "openvino", "torch"}
HEAVY = ENGINES | {"onnx", "pandas", "transformers", "matplotlib"}


def _imported(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh process has imported after these modules."""
    code = f"import {', '.join(modules)}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("leptonbench.harness.run", ENGINES | {"transformers", "onnx"}),
        ("leptonbench.harness.plan", ENGINES | {"transformers", "onnx"}),
        ("leptonbench.harness.prepare", HEAVY),
        ("leptonbench.harness.worker", HEAVY),
    ],
)
def test_what_a_process_does_not_import(module: str, heavy: set[str]) -> None:
    assert _imported(module) & heavy == set()


def test_naming_the_engines_does_not_import_them() -> None:
    """A worker that opens ONNX Runtime loads no torch; the failure tests see the same from inside a real worker."""
    engines = ("onnxruntime", "openvino", "torch_eager", "torch_compile")
    found = _imported("leptonbench.harness.worker", *(f"leptonbench.backends.{engine}" for engine in engines))
    assert found & HEAVY == set()
    assert "mlperf_loadgen" in found, "the test would see an import"
