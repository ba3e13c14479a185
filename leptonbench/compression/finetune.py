"""The training loop that every technique shares: a short, seeded cycle that an interruption does not lose.

The loss is the task's own, where it has one for the network's outputs, plus the distance to the uncompressed network
(Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015), which needs no labels and therefore
works on a model whose training nobody knows.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Tuning
from leptonbench.errors import MeasurementError
from leptonbench.tasks.base import Batch
from leptonbench.tasks.network import Network

TEMPERATURE = 2.0
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0  # norm that gradients are clipped to
_TRANSFORMER = 0.2  # of the learning rate: such networks lose what they know at rates that convolutions need
_RISE = 0.1  # share of the cycle in which the learning rate rises
_SAVE_EVERY_S = 30.0
_SAY_EVERY_S = 10.0
_STATISTICS_BATCHES = 16  # that batch normalisation is measured on again at the end


@dataclass(frozen=True, slots=True)
class Course:
    """One training.

    Attributes:
        name: Of the checkpoint, and in progress lines.
        steps: Batches to learn from, times the lesson's factor, if no budget cuts them.
        rate_factor: The peak learning rate as a multiple of the lesson's.
        teacher: Network whose outputs are learned; `None` learns from the task's loss alone.
        hard: Whether the task's own loss counts.
        mask: By parameter name, where a weight may differ from zero.
        steady: Whether batch normalisation keeps its statistics while the weights move. Those of small batches are
            noise, which drowns what little a network has to learn that lost single weights only.
    """

    name: str
    steps: int
    rate_factor: float = 1.0
    teacher: Network | None = None
    hard: bool = True
    mask: Mapping[str, Tensor] | None = None
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """How far a training came.

    Attributes:
        steps: Batches learned from.
        planned: Batches of the full course.
        loss: Mean over the last tenth of the steps.
        wall_s: Time it took, over all its interruptions.
        bf16: Whether products were computed in bf16.
    """

    steps: int
    planned: int
    loss: float
    wall_s: float
    bf16: bool

    def facts(self) -> dict[str, Any]:
        """Return what the record keeps."""
        return {
            "steps": self.steps,
            "planned_steps": self.planned,
            "cut_by_budget": self.steps < self.planned,
            "loss": round(self.loss, 5),
            "wall_s": round(self.wall_s, 1),
            "bf16": self.bf16,
        }


@dataclass
class _State:
    """What an interrupted training goes on from."""

    step: int = 0
    elapsed_s: float = 0.0
    losses: list[float] | None = None


def rate_at(progress: float) -> float:
    """Return the learning rate as a share of its peak: a linear rise, then half a cosine down to nothing.

    Args:
        progress: Of the training, 0 to 1.
    """
    if progress < _RISE:
        return 0.1 + 0.9 * progress / _RISE
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - _RISE) / (1 - _RISE))))


def bf16_pays() -> bool:
    """Say whether this CPU multiplies bf16 in hardware; without, autocast is many times slower than fp32."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # Not public; a release without them answers no, which costs speed and nothing else.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)


def train(network: Network, tuning: Tuning, course: Course, *, say: Callable[[str], None]) -> Trained:
    """Train a network in place and leave it in evaluation mode, its gradients off.

    Training goes on from its own last checkpoint, to the same weights as without the interruption.

    Args:
        network: In fp32.
        tuning: Seed, lesson, budget and the folder of checkpoints.
        course: What to train, how and for how long.
        say: Told the progress about every ten seconds.

    Raises:
        MeasurementError: If the loss is not finite.
        ValueError: If the course has neither a teacher nor a loss of the task's.
    """
    steps = max(1, round(course.steps * tuning.lesson.steps_factor))
    loop = _Loop(network, tuning, replace(course, steps=steps), say)
    trained = loop.run()
    restore_statistics(network, tuning)
    _freeze(network)
    return trained


class _Loop:
    """One training in progress."""

    def __init__(self, network: Network, tuning: Tuning, course: Course, say: Callable[[str], None]) -> None:
        self.network = network
        _lay_out(network)
        self.tuning = tuning
        self.course = course
        self.say = say
        self.bf16 = bf16_pays()
        self.state = _State(losses=[])
        self.path = tuning.checkpoints / f"{course.name}.pt"
        if course.teacher is not None:
            _lay_out(course.teacher)
        self.network.requires_grad_(True).train()
        for norm in _norms(network) if course.steady else ():
            norm.eval()
        self.optimiser = _optimiser(network)
        self.peak = tuning.lesson.learning_rate * course.rate_factor
        if _is_transformer(network):
            self.peak *= _TRANSFORMER
        torch.manual_seed(tuning.seed)  # dropout

    def run(self) -> Trained:
        """Learn from batch after batch until the course or the budget ends."""
        self._resume()
        losses = self.state.losses if self.state.losses is not None else []
        batches = self._batches()
        begin = said = saved = time.perf_counter()
        before_s = self.state.elapsed_s
        while (progress := self._progress()) < 1:
            for group in self.optimiser.param_groups:
                group["lr"] = self.peak * rate_at(progress)
            losses.append(self._step(next(batches)))
            self.state.step += 1
            now = time.perf_counter()
            self.state.elapsed_s = before_s + now - begin
            if now - said > _SAY_EVERY_S:
                said = now
                self.say(self._line(losses))
            if now - saved > _SAVE_EVERY_S:
                self._save()
                saved = time.perf_counter()
        self._save()
        self.say(self._line(losses))
        last = losses[-max(1, len(losses) // 10) :]
        mean = sum(last) / len(last) if last else math.nan
        return Trained(self.state.step, self.course.steps, mean, self.state.elapsed_s, self.bf16)

    def _progress(self) -> float:
        """Return how much of the training is over: of its steps or, where that is more, of its time."""
        done = self.state.step / self.course.steps
        budget_s = self.tuning.budget_s
        # The budget counts from the first step on: a budget too short for one step still gives one.
        return done if budget_s is None or not self.state.step else max(done, self.state.elapsed_s / budget_s)

    def _batches(self) -> Iterator[Batch]:
        batches = self.tuning.lesson.batches(self.tuning.seed)
        for _ in range(self.state.step):  # those that were learned from before the interruption
            next(batches)
        return batches

    def _step(self, batch: Batch) -> float:
        inputs = {name: _channels_last(tensor) for name, tensor in batch.inputs.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            outputs = self.network(**inputs)
        loss = self._loss(outputs, inputs, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise MeasurementError(
                f"training of {self.course.name} diverged",
                cause=f"the loss is {value} at step {self.state.step}",
                hint="the learning rate is too high for this model, or its data hold values that are not finite",
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        self.optimiser.step()
        if self.course.mask is not None:
            apply_mask(self.network, self.course.mask)
        return value

    def _loss(self, outputs: tuple[Tensor, ...], inputs: dict[str, Tensor], batch: Batch) -> Tensor:
        lesson, parts = self.tuning.lesson, []
        if self.course.hard:
            hard = lesson.loss(outputs, batch)
            if hard is not None:
                parts.append(hard)
        if self.course.teacher is not None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                taught = self.course.teacher(**inputs)
            parts.append(lesson.distance(outputs, taught, temperature=TEMPERATURE))
        if not parts:
            raise ValueError(f"{self.course.name} has nothing to learn from: no teacher, and no loss of the task's")
        return torch.stack(parts).sum()

    def _line(self, losses: list[float]) -> str:
        done, all_steps = self.state.step, self.course.steps
        recent = losses[-20:]
        mean = sum(recent) / len(recent) if recent else math.nan
        pace_s = self.state.elapsed_s / max(1, done)
        left_s = (all_steps - done) * pace_s
        if self.tuning.budget_s is not None:
            left_s = min(left_s, max(0.0, self.tuning.budget_s - self.state.elapsed_s))
        return f"{self.course.name}: step {done} of {all_steps}, loss {mean:.3f}, {left_s:.0f} s left"

    def _identity(self) -> str:
        """Name this training, so that another's checkpoint is not taken for its own."""
        shapes = {name: list(tensor.shape) for name, tensor in self.network.state_dict().items()}
        course = (self.course.name, self.course.steps, self.peak, self.course.hard, self.course.teacher is not None)
        return hashlib.sha256(repr((shapes, course, self.tuning.seed, self.tuning.budget_s)).encode()).hexdigest()

    def _save(self) -> None:
        """Write the checkpoint whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(f".{os.getpid()}")
        torch.save(
            {
                "identity": self._identity(),
                "step": self.state.step,
                "elapsed_s": self.state.elapsed_s,
                "losses": torch.tensor(self.state.losses, dtype=torch.float64),
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "random": torch.get_rng_state(),
            },
            scratch,
        )
        scratch.replace(self.path)

    def _resume(self) -> None:
        if not self.path.exists():
            return
        found = _read_checkpoint(self.path)
        if found is None or found["identity"] != self._identity():
            self.say(f"{self.course.name}: the checkpoint in {self.path} is not of this training; starting anew")
            return
        self.network.load_state_dict(found["network"])
        self.optimiser.load_state_dict(found["optimiser"])
        torch.set_rng_state(found["random"])
        self.state = _State(found["step"], found["elapsed_s"], found["losses"].tolist())
        self.say(f"{self.course.name}: goes on from step {self.state.step}")


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception:  # a damaged file makes torch raise pickle's, zipfile's and its own errors
        return None
    return found


def apply_mask(network: nn.Module, mask: Mapping[str, Tensor]) -> None:
    """Set the weights that a mask leaves out to zero, in place."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, kept in mask.items():
            parameters[name].mul_(kept)


def restore_statistics(network: Network, tuning: Tuning) -> None:
    """Measure the means and variances of batch normalisation again, over batches of the lesson.

    Training leaves them lagging behind the weights, and removing channels leaves them wrong.
    """
    norms = [norm for norm in _norms(network) if norm.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    batches = tuning.lesson.batches(tuning.seed + 1)
    with torch.no_grad():
        for _ in range(_STATISTICS_BATCHES):
            network(**{name: _channels_last(tensor) for name, tensor in next(batches).inputs.items()})
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def _norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _is_transformer(network: nn.Module) -> bool:
    """Say whether a network normalises by layers alone, never by batches."""
    return not _norms(network) and any("Norm" in type(module).__name__ for module in network.modules())


def _optimiser(network: nn.Module) -> torch.optim.AdamW:
    """Return AdamW; it decays weights only, not biases or normalisation."""
    parameters = list(network.parameters())
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": _WEIGHT_DECAY}
    free = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, free])


def _freeze(network: nn.Module) -> None:
    network.eval().requires_grad_(False)


def _lay_out(network: nn.Module) -> None:
    """Put the weights of image convolutions channels last in memory, in place."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.data = _channels_last(parameter.data)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
