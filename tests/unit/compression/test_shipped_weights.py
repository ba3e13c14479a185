"""The weights that ship: of their workload's model, of their variant's steps, and not too many of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.catalog import load_variant, load_workload, workload_names
from leptonbench.compression.shipped import TUNED_FILE, check_shipped, read_document
from leptonbench.compression.source import resolve_source
from leptonbench.paths import data_root

WORKLOADS = data_root() / "workloads"
TUNED = sorted(path.parent for path in WORKLOADS.glob(f"*/tuned/*/{TUNED_FILE}"))
LARGEST_BYTES = 120_000_000


def _variant(folder: Path) -> str:
    return "sparse-2:4" if folder.name == "sparse-2-4" else folder.name


@pytest.mark.parametrize("name", [name for name in workload_names() if (WORKLOADS / name / "tuned").is_dir()])
def test_tuned_weights_are_of_the_workloads_own_model(name: str) -> None:
    workload, folder = load_workload(name)
    check_shipped(folder / "tuned", resolve_source(workload.model, folder).sha256)


@pytest.mark.parametrize("folder", TUNED, ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_tuned_weights_are_of_their_variants_steps_and_trained_in_full(folder: Path) -> None:
    document = read_document(folder)
    steps = [step.model_dump() for step in load_variant(_variant(folder)).steps]
    assert document["steps"] == steps
    for found in document["facts"].values():
        assert found["tuning"]["steps"] == found["tuning"]["planned_steps"] > 0
        assert 0 < found["quality_after_tuning"] <= 1


def test_all_weights_together_stay_small() -> None:
    """What a clone of the repository costs its users."""
    assert sum(path.stat().st_size for path in WORKLOADS.glob("**/*.safetensors")) <= LARGEST_BYTES
