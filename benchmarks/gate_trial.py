"""The gate as a new user has it: a repository with a small CNN of its own, and what the gate says of three changes.

    python -m benchmarks.gate_trial

The model tells by construction which channel of an image is strongest: a convolution spreads the channels, identity
convolutions do the work of real ones, and a product reads the class off the means. So it can be made heavier without
another answer, and less accurate without another operation. The second commit changes nothing but a text, the third
adds layers that do real work, the fourth turns the reading of a class; each is gated against its base by the command
line, from inside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks.common import COMMAND, ROOT, Outcome, tell
from leptonbench.gate.model import GATE_FILE
from leptonbench.harness.children import scratch_folder

SIZE, WIDTH, LAYERS = 64, 32, 3
CLASSES = ("blue", "green", "red")  # alphabetical, as class folders are ordered
_CHANNEL = {"red": 0, "green": 1, "blue": 2}
_EACH = 70  # images a class
_CONFIG = """\
[gate]
workload = "inspection"
model = "models/colours.onnx"
data = "data"
threads = 1
"""
# Each change, the ref that it is gated against, and the exit code that it must come to.
CASES = {"no change": 0, "slower": 1, "less accurate": 1}


def make_model(path: Path, *, layers: int = LAYERS, blind: float = 0.0) -> None:
    """Write the model and its pre-processing.

    Args:
        path: The ONNX file.
        layers: Identity convolutions of 3 x 3 over `WIDTH` channels.
        blind: Share of a class's reading that is turned to another class.
    """
    spread = np.zeros((WIDTH, 3, 3, 3), dtype=np.float32)
    identity = np.zeros((WIDTH, WIDTH, 3, 3), dtype=np.float32)
    for channel in range(WIDTH):
        spread[channel, channel % 3, 1, 1] = 1.0
        identity[channel, channel, 1, 1] = 1.0
    reading = np.zeros((WIDTH, 3), dtype=np.float32)
    for label, name in enumerate(CLASSES):
        reading[_CHANNEL[name], label] = 1.0
    reading[_CHANNEL["red"]] = reading[_CHANNEL["red"]] * (1 - blind) + blind * reading[_CHANNEL["blue"]]
    positive = np.full(WIDTH, 1.0, dtype=np.float32)  # pixels are from -1 to 1: rectified, nothing is lost
    nodes = [helper.make_node("Conv", ["pixel_values", "spread", "positive"], ["h0"], pads=[1, 1, 1, 1])]
    tensors = {"spread": spread, "positive": positive, "reading": reading}
    for layer in range(layers):
        tensors[f"w{layer}"] = identity
        nodes.append(helper.make_node("Conv", [f"h{layer}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"h{layer + 1}"]))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"h{layers}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "reading"], ["logits"]),
    ]
    taken = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    kept = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    graph = helper.make_graph(nodes, "colours", [taken], [given], kept)
    path.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    processing = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (path.parent / "preprocessor_config.json").write_text(json.dumps(processing), encoding="utf-8")


def make_images(folder: Path) -> None:
    """Write noise in which one channel is strongest, by class."""
    random = np.random.default_rng(7)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for index in range(_EACH):
            image = random.integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)
            image[..., _CHANNEL[name]] += 40
            Image.fromarray(image).save(folder / name / f"{index:03}.png")


def git(folder: Path, *arguments: str) -> None:
    """Call git as a user without a name."""
    command = ["git", "-C", str(folder), "-c", "user.name=trial", "-c", "user.email=trial@example.org", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", message)


def make_project(folder: Path) -> None:
    """Make the repository: a branch for each change, each one commit after the base."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    make_model(folder / "models" / "colours.onnx")
    make_images(folder / "data")
    (folder / "leptonbench.toml").write_text(_CONFIG, encoding="utf-8")
    commit(folder, "A model, its data and its gate")
    for name in CASES:
        git(folder, "checkout", "-q", "-b", name.replace(" ", "-"), "main")
        if name == "slower":
            make_model(folder / "models" / "colours.onnx", layers=LAYERS + 1)
        elif name == "less accurate":
            make_model(folder / "models" / "colours.onnx", blind=0.2)
        else:
            (folder / "README.md").write_text("# Colours\n", encoding="utf-8")
        commit(folder, name)


def gate(folder: Path, name: str, out: Path) -> tuple[int, float, dict[str, Any]]:
    """Gate a branch against the base; return the exit code, the seconds that it took and the result."""
    git(folder, "checkout", "-q", name.replace(" ", "-"))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "gate", "--base", "main", "--out", str(out)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    wall_s = time.monotonic() - started
    file = out / GATE_FILE
    return done.returncode, wall_s, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def main() -> None:
    """Try each change, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=list(CASES), action="append", help="one of the changes; may be repeated")
    asked = parser.parse_args().only or list(CASES)
    outcomes, verdicts = [], {}
    with scratch_folder() as scratch:
        make_project(scratch / "project")
        for name in asked:
            code, wall_s, result = gate(scratch / "project", name, scratch / name.replace(" ", "-"))
            found = {
                f"{finding['layer']} {finding['metric']}": [finding["verdict"], finding["reason"]]
                for cell in result.get("cells", ())
                for finding in cell["findings"]
            }
            verdicts[name] = {"exit_code": code, "wall_s": wall_s, "findings": found}
            wanted = CASES[name]
            print(f"{name}: {result.get('verdict', 'no result')}, exit code {code}, {wall_s:.0f} s", flush=True)
            outcomes.append(Outcome(f"{name}: exits with {wanted}", float(code == wanted), "", 1.0, at_least=True))
            outcomes.append(Outcome(f"{name}: wall time", wall_s, "s"))
    tell("gate_trial", outcomes, verdicts=verdicts)


if __name__ == "__main__":
    main()
