"""Recipes: orders that make sense, and networks that are tuned once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from leptonbench.catalog import load_variant
from leptonbench.compression.base import Tuning
from leptonbench.compression.masks import weight_names
from leptonbench.compression.recipe import Kept, apply_module_steps, check_order
from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec
from leptonbench.tasks.base import Batch
from tests.unit.compression.conftest import SIDE, Kit, load_parakeet, save_classifier, utterances

PRUNE = StepSpec(technique="prune-channels", options={"ratio": 0.5, "steps": 2})
SPARSE = StepSpec(technique="sparse-2:4", options={"steps": 2})
SHARE = StepSpec(technique="share-weights", options={"entries": 16})
IMAGES = {"pixel_values": torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))}


def _kept(kit: Kit, *, shipped: Path | None = None, sha: str = "abc", seed: int = 1) -> Kept:
    folder = kit.root / "kept"
    folder.mkdir(exist_ok=True)
    return Kept(sha, shipped, folder, "data", seed, None)


@pytest.mark.parametrize(
    ("variant", "why", "hint"),
    [
        ("int8-static+prune50-channel", "ONNX graph of integers", "prune-channels, then quantize-static"),
        ("int8-dynamic+share16", "ONNX graph of integers", "share-weights, then quantize-dynamic"),
        ("prune50-channel+distill-half", "new, narrower network", "distill, then prune-channels"),
        ("share16+prune50-channel", "off their shared values", "prune-channels, then share-weights"),
        ("prune80-unstructured+prune30-channel", "zeros would be lost", "prune-channels, then prune-weights"),
        ("bf16+share16", "a cast has rounded them", "share-weights, then cast"),
        ("sparse-2:4+prune80-unstructured", "which single weights are zero", "leave one of them out"),
        ("prune30-channel+prune50-channel", "in one step", "leave one of them out"),
        ("int8-static+int8-dynamic", "integers already", "leave one of them out"),
        ("share16+share256", "only round the first", "leave one of them out"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_its_own_reason(variant: str, why: str, hint: str) -> None:
    with pytest.raises(UsageError, match="make no sense in this order") as raised:
        check_order(variant, load_variant(variant).steps)
    assert why in raised.value.cause
    assert hint in raised.value.hint


@pytest.mark.parametrize("variant", ["fp16+int8-static", "bf16+int8-dynamic", "fp16+int4-weight", "int8-static+fp16"])
def test_a_cast_beside_quantisation_is_refused_in_either_order(variant: str) -> None:
    with pytest.raises(UsageError, match="make no sense together") as raised:
        check_order(variant, load_variant(variant).steps)
    assert "quantisation reads fp32 weights" in raised.value.cause
    assert "leave one of them out" in raised.value.hint


@pytest.mark.parametrize(
    "variant", ["fp32", "distill-half+prune50-channel+sparse-2:4+share16+int8-static", "prune50-channel+bf16"]
)
def test_an_order_that_works_is_let_through(variant: str) -> None:
    check_order(variant, load_variant(variant).steps)


def test_no_steps_change_nothing(kit: Kit) -> None:
    network = kit.network()
    assert apply_module_steps(network, (), kit.context(), kept=_kept(kit)) == (network, {})


def test_what_was_tuned_is_not_tuned_again(kit: Kit) -> None:
    first, facts = apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    assert facts["tuned"]["from"] == "now"
    assert facts["steps"]["prune-channels"]["tuning"]["steps"] == 2
    trained = kit.tuned
    second, again = apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    assert kit.tuned == trained, "no lesson was asked for"
    assert again["tuned"]["from"] == "cache"
    assert again["steps"] == facts["steps"]
    assert again["stored_bytes"] == facts["stored_bytes"]
    assert torch.equal(first(**IMAGES)[0], second(**IMAGES)[0]), "the first is what the second reads"
    assert not list((kit.root / "kept" / "checkpoints").iterdir()), "checkpoints are gone when they are not needed"


@pytest.mark.parametrize("change", ["seed", "model", "steps"])
def test_another_seed_model_or_option_is_tuned_by_itself(kit: Kit, change: str) -> None:
    apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    trained = kit.tuned
    kept = _kept(kit, seed=2 if change == "seed" else 1, sha="def" if change == "model" else "abc")
    step = StepSpec(technique="prune-channels", options={"ratio": 0.3, "steps": 2}) if change == "steps" else PRUNE
    _, facts = apply_module_steps(kit.network(), (step,), kit.context(), kept=kept)
    assert facts["tuned"]["from"] == "now"
    assert kit.tuned > trained


def test_a_composition_starts_from_its_longest_tuned_part(kit: Kit) -> None:
    apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    trained = kit.tuned
    network, facts = apply_module_steps(kit.network(), (PRUNE, SHARE), kit.context(), kept=_kept(kit))
    assert kit.tuned == trained
    assert list(facts["steps"]) == ["prune-channels", "share-weights"]
    large = [weight for weight in weight_names(network).values() if weight.numel() >= 64]
    assert large
    assert max(len(torch.unique(weight)) for weight in large) <= 16
    _, facts = apply_module_steps(kit.network(), (PRUNE, SPARSE), kit.context(), kept=_kept(kit))
    assert kit.tuned > trained
    assert facts["tuned"]["from"] == "now"
    assert list(facts["steps"]) == ["prune-channels", "sparse-2:4"]


class Mimicry:
    """Lessons on utterances without targets: to answer as the teacher does."""

    learning_rate = 1e-3
    steps_factor = 1.0

    def batches(self, seed: int) -> Iterator[Batch]:
        while True:
            yield Batch(utterances(), {})

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor | None:
        return None

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        return (outputs[0] - teacher[0]).square().mean()


def test_a_student_stays_one_through_what_tunes_it_further(kit: Kit, parakeet: Path) -> None:
    """Its relative positions and scales follow from the width that its configuration states, not from its weights."""
    kit.folder = parakeet
    context = replace(
        kit.context(),
        load_network=load_parakeet,
        tuning=lambda: Tuning(Mimicry(), 1, kit.root / "checkpoints"),
    )
    student = StepSpec(technique="distill", options={"steps": 1})
    for second in (PRUNE, SPARSE, StepSpec(technique="prune-weights", options={"sparsity": 0.5, "steps": 1})):
        kept = _kept(kit)
        network, facts = apply_module_steps(load_parakeet(parakeet, True), (student, second), context, kept=kept)
        assert list(facts["steps"]) == ["distill", second.technique]
        assert network.model.config.encoder_config.hidden_size == 16
        again, found = apply_module_steps(load_parakeet(parakeet, True), (student, second), context, kept=kept)
        assert found["tuned"]["from"] == "cache"
        assert torch.equal(again(**utterances())[0], network(**utterances())[0])


def _ship(kit: Kit, workload: Path, sha: str) -> Path:
    """Tune once and put the result where a workload's would be, beside its model."""
    kept = _kept(kit, sha=sha)
    apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=kept)
    (workload / "tuned").mkdir(parents=True)
    kept.place((PRUNE,)).rename(workload / "tuned" / "prune50-channel")
    return workload / "tuned"


def test_shipped_weights_are_used_whatever_the_seed(kit: Kit, tmp_path: Path) -> None:
    shipped = _ship(kit, tmp_path / "workload", "abc")
    trained = kit.tuned
    _, facts = apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit, shipped=shipped, seed=9))
    assert kit.tuned == trained
    assert facts["tuned"]["from"] == "shipped"
    assert facts["tuned"]["seed"] == 1


def test_a_users_own_model_is_tuned_by_itself_beside_shipped_weights(kit: Kit, tmp_path: Path) -> None:
    shipped = _ship(kit, tmp_path / "workload", "abc")
    trained = kit.tuned
    _, facts = apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit, shipped=shipped, sha="own"))
    assert kit.tuned > trained
    assert facts["tuned"]["from"] == "now"


def test_shipped_weights_of_an_older_model_stop_the_run(kit: Kit, tmp_path: Path) -> None:
    workload = tmp_path / "workload"
    shipped = _ship(kit, workload, "old")
    kit.folder = save_classifier(workload / "model")
    with pytest.raises(UsageError, match="are of another model than the workload's") as raised:
        apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit, shipped=shipped, sha="new"))
    assert "--variant prune50-channel" in raised.value.hint


def test_identities_tell_apart_what_decides_the_result(kit: Kit, tmp_path: Path) -> None:
    kept = _kept(kit)
    assert kept.identity(()) == kept.identity((SHARE,)) == "", "nothing is tuned"
    assert kept.identity((PRUNE,)) != kept.identity((SPARSE,)) != kept.identity((PRUNE, SPARSE))
    assert kept.identity((PRUNE,)) != _kept(kit, seed=2).identity((PRUNE,))
    shipped = _ship(kit, tmp_path / "workload", "abc")
    before = _kept(kit, shipped=shipped).identity((PRUNE,))
    assert before != kept.identity((PRUNE,))
    weights = shipped / "prune50-channel" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert _kept(kit, shipped=shipped).identity((PRUNE,)) != before, "weights that were made again are others"


def test_a_teacher_that_was_trained_again_is_another(kit: Kit, tmp_path: Path) -> None:
    teacher = save_classifier(tmp_path / "teacher", widths=(32, 64))
    taught = (StepSpec(technique="distill", options={"teacher": str(teacher), "steps": 1}),)
    apply_module_steps(kit.network(), taught, kit.context(), kept=_kept(kit))
    trained, before = kit.tuned, _kept(kit).identity(taught)
    _, facts = apply_module_steps(kit.network(), taught, kit.context(), kept=_kept(kit))
    assert (kit.tuned, facts["tuned"]["from"]) == (trained, "cache")
    save_classifier(teacher, widths=(32, 64), seed=1)
    assert _kept(kit).identity(taught) != before
    _, facts = apply_module_steps(kit.network(), taught, kit.context(), kept=_kept(kit))
    assert facts["tuned"]["from"] == "now"
    shutil.rmtree(teacher)
    with pytest.raises(UsageError, match="there is no model at"):
        _kept(kit).identity(taught)


def test_finding_what_was_tuned_imports_no_engine(kit: Kit) -> None:
    apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    code = f"""
import sys
from pathlib import Path
from leptonbench.compression import TECHNIQUES
from leptonbench.compression.recipe import Kept, check_order
from leptonbench.schema import StepSpec
steps = (StepSpec(technique="prune-channels", options={{"ratio": 0.5, "steps": 2}}),)
check_order("v", steps)
[TECHNIQUES.get(name).order for name in TECHNIQUES.names()]
print(Kept("abc", None, Path({str(kit.root / "kept")!r}), "data", 1, None).find(steps)[1])
print({{"torch", "transformers", "sklearn", "onnxruntime"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split("\n")[:2] == ["cache", "set()"]


def test_a_budget_changes_nothing_where_tuned_weights_ship(kit: Kit) -> None:
    """What is not tuned here must not be made again because the time to tune differs."""
    folder = kit.root / "kept"
    folder.mkdir()
    shipped = kit.root / "shipped"
    apply_module_steps(kit.network(), (PRUNE,), kit.context(), kept=_kept(kit))
    (place,) = (path for path in folder.iterdir() if path.name != "checkpoints")
    shutil.copytree(place, shipped / "prune")

    def identities(folder_shipped: Path | None, steps: tuple[StepSpec, ...]) -> set[str]:
        return {
            Kept("abc", folder_shipped, folder, data, seed, budget_s).identity(steps)
            for data, seed, budget_s in (("data", 1, None), ("data", 1, 2.0), ("data", 2, None), ("other", 1, None))
        }

    assert len(identities(None, (PRUNE,))) == 4
    assert len(identities(shipped, (PRUNE,))) == 1
    assert len(identities(shipped, (PRUNE, SPARSE))) == 4, "the last step is tuned here"
