"""Train the credit-scoring workload's network on generated applications and write it as a Hugging Face folder.

    python workloads/credit-scoring/train.py --out workloads/credit-scoring/model

The seed fixes data, order and initial weights. Another CPU or thread count sums in another order, so weights agree in
kind and accuracy, not in bytes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from leptonbench.schema import DataSpec
from leptonbench.tasks.auc import Auc
from leptonbench.tasks.base import Split, TaskSetup
from leptonbench.tasks.credit import CATEGORIES, GENERATOR_VERSION, NUMBERS, generate
from leptonbench.tasks.mlp import MlpConfig, MlpForScoring, Scorer, load_scorer
from leptonbench.tasks.tabular import TabularTask
from leptonbench.tasks.tabular_features import FILE, Category, Features, Number

EVALUATION = DataSpec(seed=2026, calibration=512, evaluation=10_000)  # as in workload.yaml, and not the training seed
BOUND_ROWS = 1_000_000  # rows from which the best possible ranking's area is estimated
LOGARITHMS = frozenset(  # columns with a long tail to the right
    {
        "income_usd",
        "employment_years",
        "address_years",
        "savings_months",
        "card_balance_usd",
        "loan_usd",
        "debt_to_income_pct",
        "instalment_to_income_pct",
    }
)


@dataclass(frozen=True)
class Recipe:
    """What is trained, on how much, for how long."""

    seed: int = 2025
    rows: int = 400_000
    held_out: int = 20_000  # rows of a split of their own, looked at between epochs
    hidden_sizes: tuple[int, ...] = (512, 512, 512)
    dropout: float = 0.1
    epochs: int = 8
    batch: int = 512
    rate: float = 1e-3  # the learning rate's peak
    weight_decay: float = 0.02


def fit_features(numbers: NDArray[np.float64]) -> Features:
    """Return the pre-processing: means and deviations of the training rows, to four digits."""
    fitted = []
    for name, column in zip(NUMBERS, numbers.T, strict=True):
        values = np.log1p(column) if name in LOGARITHMS else column
        mean, std = float(f"{values.mean():.4g}"), float(f"{values.std():.4g}")
        fitted.append(Number(name=name, mean=mean, std=std, log=name in LOGARITHMS))
    return Features(numbers=tuple(fitted), categories=tuple(Category(name=n, values=v) for n, v in CATEGORIES.items()))


def train(recipe: Recipe) -> tuple[MlpForScoring, Features]:
    """Train a network from random weights; return it and its pre-processing."""
    begin = time.perf_counter()
    table = generate(recipe.seed, "train", 0, recipe.rows)
    held = generate(recipe.seed, "validation", 0, recipe.held_out)
    features = fit_features(table.numbers)
    inputs = torch.from_numpy(features.encode(table.numbers, table.codes))
    labels = torch.from_numpy(table.defaults.astype(np.float32))
    held_inputs = torch.from_numpy(features.encode(held.numbers, held.codes))
    torch.manual_seed(recipe.seed)
    config = MlpConfig(input_size=features.width, hidden_sizes=list(recipe.hidden_sizes), dropout=recipe.dropout)
    model = MlpForScoring(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    steps = len(labels) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.rate, total_steps=recipe.epochs * steps, pct_start=0.15
    )
    order = np.random.default_rng(recipe.seed)
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in np.array_split(order.permutation(len(labels))[: steps * recipe.batch], steps):
            chosen = torch.from_numpy(rows)
            logits = model(features=inputs[chosen]).flatten()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        area = roc_auc_score(held.defaults, scores(model, held_inputs))
        spent_s = time.perf_counter() - begin
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}, held-out AUC {area:.4f}, {spent_s:.0f} s", flush=True)
    return model, features


@torch.no_grad()
def scores(model: torch.nn.Module, inputs: torch.Tensor) -> NDArray[np.float32]:
    """Return the logits of rows, in evaluation mode."""
    was = model.training
    model.eval()
    logits: NDArray[np.float32] = torch.cat([model(features=part) for part in inputs.split(8192)]).flatten().numpy()
    model.train(was)
    return logits


def save(model: MlpForScoring, features: Features, out: Path) -> None:
    """Write config, pre-processing and weights: stored in half precision, to be run in single."""
    out.mkdir(parents=True, exist_ok=True)
    config = {**model.config.to_diff_dict(), "architectures": ["MlpForScoring"], "dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    stated = features.model_dump(exclude_defaults=True, mode="json")
    (out / FILE).write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    halves = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(halves, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library's default keeps other users out


def rounded(network: Scorer, bits: int) -> dict[str, torch.Tensor]:
    """Return the weights with every matrix rounded to 2**bits - 1 even steps: a deliberately damaged model."""
    steps = 2 ** (bits - 1) - 1
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            scale = tensor.abs().max() / steps
            state[name] = (tensor / scale).round() * scale
    return state


def card(recipe: Recipe, area: str, damaged: dict[int, float], bound: float, share: float) -> str:
    """Return the model card."""
    losses = ", ".join(f"{bits} bits {value:.4f}" for bits, value in damaged.items())
    widths = ", ".join(map(str, recipe.hidden_sizes))
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: tabular-classification
---
# A perceptron for credit scoring

Gives the chance that an application for consumer credit defaults, from {len(NUMBERS)} numbers and
{len(CATEGORIES)} categories.

- **Made by** `python workloads/credit-scoring/train.py --out workloads/credit-scoring/model`, from random weights; no
  other data or weights went in. Seed {recipe.seed}; a few minutes on one CPU core.
- **Data**: {recipe.rows:,} rows of split `train` drawn by `leptonbench/tasks/credit.py`, generator version
  {GENERATOR_VERSION}. All applications are synthetic: the score says how a compressed or ported copy compares with this
  model, and nothing about anybody's credit. It must not be used to decide on people.
- **Network**: linear layers of {widths} and 1, ReLU between them. Numbers are standardised, some after a logarithm, and
  categories become ones and zeros before the network (`{FILE}`).
- **Recipe**: AdamW, one cycle of the learning rate with peak {recipe.rate}, {recipe.epochs} epochs of batches of
  {recipe.batch}, weight decay {recipe.weight_decay}, dropout {recipe.dropout}.
- **Weights** are stored in half precision and run in single precision (`"dtype": "float32"` in `config.json`).
- **Quality**: AUC {area} in fp32 on {EVALUATION.evaluation:,} rows of split `evaluation` (seed {EVALUATION.seed}),
  measured from this folder. With every weight matrix rounded to nearest, one scale a tensor: {losses}.
- **Bound**: {share:.1%} of rows default, by chance as much as by what the columns say. The score that the chance of
  default rises with is known to the generator: it ranks {BOUND_ROWS:,} fresh rows with AUC {bound:.4f}, and no model
  can rank better but by luck.
"""


def measure(recipe: Recipe, out: Path) -> None:
    """Measure the folder as it will be read, whole and deliberately damaged; print it and write the model card."""
    task = TabularTask(TaskSetup(model_dir=out, data=EVALUATION))
    rows = task.samples(Split.EVALUATION)
    inputs = torch.from_numpy(np.concatenate([task.encode(rows.raw(i))["features"] for i in range(len(rows))]))
    truth = [rows.target(i) for i in range(len(rows))]
    network = load_scorer(out)

    def quality() -> tuple[float, str]:
        with torch.no_grad():
            found = Auc().quality(task.decode([network(features=inputs)[0].numpy()]), truth)
        return found.value or 0.0, f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"

    _, stated = quality()
    whole = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    damaged = {}
    for bits in (4, 3):
        network.load_state_dict(whole)
        network.load_state_dict(rounded(network, bits))
        damaged[bits], _ = quality()
    table = generate(recipe.seed, "bound", 0, BOUND_ROWS)
    bound = float(roc_auc_score(table.defaults, table.score))
    text = card(recipe, stated, damaged, bound, float(table.defaults.mean()))
    (out / "README.md").write_text(text, encoding="utf-8")
    print(f"AUC {stated}, bound {bound:.4f}, with weights rounded to 4 and 3 bits {damaged[4]:.4f}, {damaged[3]:.4f}")


def main() -> None:
    """Train, write the folder, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the folder and renew its card")
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe()
    if not given.measure:
        save(*train(recipe), given.out)
    measure(recipe, given.out)


if __name__ == "__main__":
    main()
