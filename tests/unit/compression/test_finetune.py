"""The training loop: its schedule, its end, its interruptions, and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from leptonbench.compression import finetune
from leptonbench.compression.finetune import Course, Trained, rate_at, restore_statistics, train
from leptonbench.errors import MeasurementError
from leptonbench.tasks.base import Batch
from leptonbench.tasks.network import Network
from tests.unit.compression.conftest import ColourLesson, Kit, accuracy


def _train(kit: Kit, course: Course, network: Network | None = None) -> tuple[Network, Trained]:
    network = network or kit.network()
    return network, train(network, kit.tuning(), course, say=kit.said.append)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_rate_rises_and_comes_down_to_nothing() -> None:
    rates = [rate_at(step / 100) for step in range(101)]
    top = rates.index(max(rates))
    assert 5 <= top <= 15 and math.isclose(max(rates), 1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-6
    assert rate_at(1.7) < 1e-6, "a step that ends late is none too far"


def test_training_teaches_and_leaves_the_network_ready(kit: Kit) -> None:
    before = accuracy(kit.network())
    network, trained = _train(kit, Course("lesson", 40))
    assert accuracy(network) > max(before, 0.8)
    assert (trained.steps, trained.planned) == (40, 40)
    assert not trained.facts()["cut_by_budget"]
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(kit: Kit, tmp_path: object) -> None:
    course = Course("lesson", 4)
    one, _ = _train(kit, course)
    other, _ = _train(replace(kit, root=kit.root / "again"), course)
    third, _ = _train(replace(kit, root=kit.root / "third", seed=2), course)
    assert _equal(one, other)
    assert not _equal(one, third)


class _PowerCut(Exception):
    pass


class _CutLesson(ColourLesson):
    """Fails when it is asked for its sixth batch."""

    def batches(self, seed: int) -> Iterator[Batch]:
        for index, batch in enumerate(super().batches(seed)):
            if index == 5:
                raise _PowerCut
            yield batch


def test_an_interrupted_training_ends_at_the_same_weights(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "_SAVE_EVERY_S", 0.0)
    course = Course("lesson", 9)
    straight, _ = _train(replace(kit, root=kit.root / "straight"), course)
    with pytest.raises(_PowerCut):
        _train(replace(kit, lesson=_CutLesson()), course)
    resumed, trained = _train(kit, course)
    assert any("goes on from step 5" in line for line in kit.said)
    assert trained.steps == 9
    assert _equal(straight, resumed)


def test_a_finished_training_is_not_done_again(kit: Kit) -> None:
    first, _ = _train(kit, Course("lesson", 3))
    second, trained = _train(kit, Course("lesson", 3))
    assert trained.steps == 3
    assert _equal(first, second)


@pytest.mark.parametrize("damage", ["another course", "garbage"])
def test_a_checkpoint_that_is_not_its_own_is_said_and_left(kit: Kit, damage: str) -> None:
    expected, _ = _train(replace(kit, root=kit.root / "clean"), Course("lesson", 3))
    _train(kit, Course("lesson", 5))
    if damage == "garbage":
        (kit.root / "checkpoints" / "lesson.pt").write_bytes(b"no checkpoint")
    network, trained = _train(kit, Course("lesson", 3))
    assert any("is not of this training; starting anew" in line for line in kit.said)
    assert trained.steps == 3
    assert _equal(network, expected)


def test_a_budget_ends_training_early_with_the_rate_down(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still but for one second a step, so that nothing depends on the machine."""
    ticks = iter(range(100_000))
    monkeypatch.setattr(finetune.time, "perf_counter", lambda: float(next(ticks)))
    rates: list[float] = []
    plain = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *given: object) -> object:
        rates.append(self.param_groups[0]["lr"] / kit.lesson.learning_rate)
        return plain(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    kit.budget_s = 30.0
    _, trained = _train(kit, Course("lesson", 1000))
    assert 5 < trained.steps < 40
    assert trained.facts()["cut_by_budget"]
    assert max(rates) > 0.9
    assert rates[-1] < 0.1


def test_a_lesson_of_cheap_steps_takes_more_of_them(kit: Kit) -> None:
    kit.lesson.steps_factor = 2.5
    _, trained = _train(kit, Course("lesson", 2))
    assert (trained.steps, trained.planned) == (5, 5)
    assert kit.lesson.drawn >= 5


def test_a_budget_too_short_for_a_step_still_gives_one(kit: Kit) -> None:
    kit.budget_s = 1e-9
    _, trained = _train(kit, Course("lesson", 1000))
    assert trained.steps == 1


def test_zeros_under_a_mask_stay_zero(kit: Kit) -> None:
    network = kit.network()
    name, weight = next((n, p) for n, p in network.named_parameters() if p.ndim == 4)
    mask = torch.rand(weight.shape) < 0.5
    before = weight.detach().clone()
    _train(kit, Course("lesson", 4, mask={name: mask}), network)
    after = dict(network.named_parameters())[name].detach()
    assert bool((after[~mask] == 0).all())
    assert bool((after[mask] != before[mask]).any())


def test_a_teacher_is_learned_without_labels_and_stays_as_it_was(kit: Kit) -> None:
    teacher, _ = _train(kit, Course("teacher", 40))
    kept = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    kit.lesson = ColourLesson(hard=False)
    student, _ = _train(kit, Course("student", 40, teacher=teacher))
    assert accuracy(student) > 0.8
    assert all(torch.equal(kept[name], tensor) for name, tensor in teacher.state_dict().items())


def test_nothing_to_learn_from_is_an_error(kit: Kit) -> None:
    kit.lesson = ColourLesson(hard=False)
    with pytest.raises(ValueError, match="nothing to learn from"):
        _train(kit, Course("lesson", 2))


class _BrokenLesson(ColourLesson):
    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor:
        return outputs[0].sum() * math.nan


def test_a_loss_that_is_not_finite_ends_training(kit: Kit) -> None:
    kit.lesson = _BrokenLesson()
    with pytest.raises(MeasurementError, match="diverged") as raised:
        _train(kit, Course("lesson", 2))
    assert "nan at step 0" in raised.value.cause


def test_statistics_are_those_of_the_data(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "_STATISTICS_BATCHES", 2)
    network = kit.network()
    first = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[Tensor] = []
    hook = first.register_forward_hook(lambda module, given, result: seen.append(given[0].detach()))
    restore_statistics(network, kit.tuning())
    hook.remove()
    assert len(seen) == 2
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen])
    assert torch.allclose(first.running_mean, means.mean(dim=0), atol=1e-5)
    assert not network.training
    assert first.momentum == 0.1, "what it was before"


@pytest.mark.parametrize("steady", [True, False])
def test_a_steady_course_learns_under_the_statistics_that_it_found(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, steady: bool
) -> None:
    monkeypatch.setattr(finetune, "restore_statistics", lambda network, tuning: None)
    network = kit.network()
    first = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    before, weight = first.running_mean.clone(), first.weight.detach().clone()
    _train(kit, Course("lesson", 3, steady=steady), network)
    assert torch.equal(first.running_mean, before) is steady
    assert not torch.equal(first.weight.detach(), weight), "its own weights learn all the same"


@pytest.mark.parametrize(("bf16", "amx", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_bf16_is_used_only_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, amx: bool, expected: bool
) -> None:
    monkeypatch.setattr(finetune.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert finetune.bf16_pays() is expected
