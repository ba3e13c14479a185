"""The shipped workloads' 8-bit models, whole, in the simulated core: every layer's bytes, and the outputs end to end.

Kernel path of the comparison: ONNX Runtime's CPU provider on x86, `session.x64quantprecision` = "1".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leptonbench.catalog import load_variant, load_workload
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.deploy import Deployment
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.lowering import lower
from leptonbench.fpga.sim.simulator import Simulator
from leptonbench.harness.jobs import PrepareJob, PrepareTarget, TaskRef
from leptonbench.harness.kitchen import Kitchen
from leptonbench.paths import cache_dir
from tests.fpga_oracle import every_tensor, run_segment

WORKLOADS = ("inspection", "detection", "speech")
Case = tuple[Path, dict[str, NDArray[Any]]]


def _kitchen(name: str) -> Kitchen:
    """Return what makes a workload's artifacts, in the cache that a run uses."""
    workload, folder = load_workload(name)
    model = folder / workload.model
    if not (model / "config.json").exists():
        pytest.skip(f"the network of {name} does not ship yet")
    reference = TaskRef(name=workload.task, model_dir=str(model), data=workload.data, workload_dir=str(folder))
    target = PrepareTarget(variant=load_variant("int8-static"), format="onnx")
    job = PrepareJob(model=str(model), base=None, task=reference, targets=(target,), cache=str(cache_dir()))
    return Kitchen(job, lambda _: None)


@pytest.fixture(params=WORKLOADS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    kitchen = _kitchen(request.param)
    artifact = kitchen.make(kitchen.job.targets[0])
    yield Path(artifact.path), kitchen.task.encode(kitchen.evaluation.raw(0))


def _lengths(path: Path, feeds: dict[str, NDArray[Any]]) -> dict[str, int]:
    """Return the free dimensions of a model as one sample has them."""
    import onnx

    return {
        size.dim_param: length
        for item in onnx.load(str(path)).graph.input
        if item.name in feeds
        for size, length in zip(item.type.tensor_type.shape.dim, feeds[item.name].shape, strict=True)
        if size.dim_param
    }


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True], ids=["layer by layer", "together"])
def test_every_layer_and_the_outputs_are_the_runtimes(case: Case, tmp_path: Path, together: bool) -> None:
    path, feeds = case
    network = lower(path, lengths=_lengths(path, feeds))
    theirs = every_tensor(path, {name: feeds[name] for name in network.inputs}, tmp_path)
    compiled = compile_network(network, CoreShape(), together=together)
    assert compiled.repacked == ()
    with Simulator(CoreShape(), memory_bytes=compiled.dram.size_bytes) as core:
        found, done = Deployment(compiled, core).execute(feeds, run_segment)
    wrong = {layer.name: int((found[layer.y] != theirs[layer.y]).sum()) for layer in network.layers}
    assert not any(wrong.values()), {name: count for name, count in wrong.items() if count}
    for name in network.outputs:
        np.testing.assert_array_equal(found[name], theirs[name])
    for one in done:
        # Bounds hold, or they are none; and layers of any size keep near them.
        bounds = [layer.bound.cycles for layer in one.program.layers]
        assert max(bounds) <= one.result.cycles
    convolutions = [one for one in done if one.program.layers[0].kind == "Convolution" and not together]
    large = [one for one in convolutions if one.program.layers[0].bound.cycles > 20_000]
    assert all(one.result.cycles <= 1.3 * one.program.layers[0].bound.cycles for one in large)
