"""Train the speech workload's network on synthetic speech and write it as a Hugging Face folder.

    python workloads/speech/make_data.py train
    python workloads/speech/train.py --out workloads/speech/model

CTC networks first learn to say nothing, and leave that plateau late; short, clean sentences in rising length get them
off it sooner. So training begins with clean sentences from the shortest to the longest; then come all sentences in
random order with masked features. The learning rate goes through two cycles.

The seed fixes tokens, data, order, augmentation and initial weights. Another CPU or thread count sums in another
order, so weights agree in kind and accuracy, not in bytes. A checkpoint is written every few minutes; the same command
goes on from it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from make_data import TRAIN
from numpy.typing import NDArray
from safetensors.torch import save_file
from speech_grammar import Speaker
from speech_synthesis import EVALUATION_TIMBRES, TRAINING_TIMBRES
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import ParakeetCTCConfig, ParakeetForCTC

from leptonbench.schema import DataSpec
from leptonbench.tasks.audio_features import LogMel
from leptonbench.tasks.audio_packed import PackedSpeech, train_folder
from leptonbench.tasks.base import Arrays, Samples, Split, TaskSetup
from leptonbench.tasks.ctc import CtcForm, read_form
from leptonbench.tasks.ctc_lesson import CtcLesson, Masking
from leptonbench.tasks.ctc_network import wrap_ctc
from leptonbench.tasks.speech import SpeechTask
from leptonbench.tasks.wer import WordAccuracy, count_errors

DATA_SEED = 2026  # as in make_data.py
LOG_EVERY_S = 60
SAVE_EVERY_S = 240


@dataclass(frozen=True)
class Recipe:
    """What is trained, on how much, for how long."""

    seed: int = 2025
    pieces: int = 320  # sub-word tokens beside the blank: most words of the grammar are one or two, few are many
    hidden: int = 144
    layers: int = 8
    heads: int = 4
    channels: int = 32  # of the subsampling convolutions, which cost as much as the rest when they are wide
    batch: int = 16
    clean_db: float = 15.0  # sentences at this level or cleaner make the first part
    clean_sentences: int = 6000
    cycles: tuple[int, ...] = (72_000, 32_000)  # sentences seen in each cycle of the learning rate
    rates: tuple[float, ...] = (1.5e-3, 1e-3)  # the learning rate's peaks
    warm_up: float = 0.08  # share of a cycle
    weight_decay: float = 0.02
    clip: float = 1.0  # of the gradient's norm


def make_tokenizer(recipe: Recipe, folder: Path) -> None:
    """Learn sub-words from the grammar's own text and write them as transformers does; the last token is the blank."""
    speaker = Speaker(np.random.default_rng(recipe.seed))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=recipe.pieces, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator((speaker.sentence() for _ in range(20_000)), trainer)
    tokenizer.add_special_tokens(["<pad>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "ParakeetTokenizer",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def configuration(recipe: Recipe) -> ParakeetCTCConfig:
    """Return the architecture: FastConformer with a CTC head."""
    return ParakeetCTCConfig(
        vocab_size=recipe.pieces + 1,
        pad_token_id=recipe.pieces,
        encoder_config={
            "hidden_size": recipe.hidden,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "intermediate_size": 4 * recipe.hidden,
            "subsampling_conv_channels": recipe.channels,
            "subsampling_factor": 8,
            "num_mel_bins": 80,
            "scale_input": False,
            # The data are endless for so short a training: what regularises would only slow it.
            "dropout": 0.0,
            "activation_dropout": 0.0,
            "attention_dropout": 0.0,
            "layerdrop": 0.0,
        },
    )


def build(recipe: Recipe) -> ParakeetForCTC:
    """Return an untrained network.

    transformers draws every weight with a deviation of 0.02, which is meant for wide models: through the narrow
    subsampling the input would shrink to nothing (2e-7) beside the rest, and training would not hear it. The
    subsampling keeps the input's size by He's rule, all other layers follow PyTorch's own.
    """
    torch.manual_seed(recipe.seed)
    model = ParakeetForCTC._from_config(configuration(recipe), attn_implementation="eager")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.reset_parameters()
    for module in model.encoder.subsampling.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return model


class Features:
    """Log-mel features of the whole training set, computed once, in half precision on disk."""

    def __init__(self, samples: PackedSpeech, path: Path) -> None:
        front = LogMel()
        self._counts = np.array([int(samples.duration_s(i) * front.rate_hz) // front.hop for i in range(len(samples))])
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        shape = (int(self._starts[-1]), front.bands)
        if not path.is_file():
            scratch = path.with_suffix(".part")
            table = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float16, shape=shape)
            for index in range(len(samples)):
                features = front(samples.raw(index).wave)["input_features"][0]
                table[self._starts[index] : self._starts[index + 1]] = features[: self._counts[index]]
            table.flush()
            scratch.rename(path)
        self._table = np.load(path, mmap_mode="r")

    def __call__(self, index: int) -> Arrays:
        """Return one sentence as a batch of one."""
        rows = self._table[self._starts[index] : self._starts[index + 1]]
        return {
            "input_features": np.asarray(rows, dtype=np.float32)[None],
            "attention_mask": np.ones((1, len(rows)), dtype=np.int64),
        }


def schedule(recipe: Recipe) -> list[float]:
    """Return every step's learning rate: in each cycle a linear rise, then half a cosine down."""
    rates = []
    for sentences, peak in zip(recipe.cycles, recipe.rates, strict=True):
        steps = sentences // recipe.batch
        rise = max(1, int(steps * recipe.warm_up))
        fall = [math.cos(math.pi * step / (steps - rise)) for step in range(steps - rise)]
        rates += [peak * (step + 1) / rise for step in range(rise)]
        rates += [peak * (0.01 + 0.99 * 0.5 * (1 + height)) for height in fall]
    return rates


def plan(recipe: Recipe, samples: PackedSpeech, lesson: CtcLesson, levels: NDArray) -> list[NDArray[np.int64]]:
    """Return every step's sentences: clean ones from short to long, then all at random."""
    rng = np.random.default_rng(recipe.seed)
    clean = np.flatnonzero(levels >= recipe.clean_db)
    clean = rng.permutation(clean)[: recipe.clean_sentences]
    clean = clean[np.argsort([samples.duration_s(int(i)) for i in clean], kind="stable")]
    steps = [clean[i : i + recipe.batch] for i in range(0, len(clean), recipe.batch)]
    while len(steps) * recipe.batch < sum(recipe.cycles):
        steps += lesson.epoch(rng)
    return steps[: sum(recipe.cycles) // recipe.batch]


def train(
    model: ParakeetForCTC, form: CtcForm, recipe: Recipe, samples: PackedSpeech, *, levels: NDArray, scratch: Path
) -> Iterator[str]:
    """Train in place; yield a line a minute."""
    features = Features(samples, scratch / "features.npy")
    texts = [samples.target(i) for i in range(len(samples))]
    durations = [samples.duration_s(i) for i in range(len(samples))]
    lesson = CtcLesson(features, texts, durations, form=form, batch=recipe.batch, masking=Masking())
    plain = CtcLesson(features, texts, durations, form=form, batch=recipe.batch, masking=Masking(bands=0, times=0))
    steps = plan(recipe, samples, lesson, levels)
    first, rates = recipe.clean_sentences // recipe.batch, schedule(recipe)
    network = wrap_ctc(model, form).train()
    decayed = {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay}
    free = {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}
    optimiser = torch.optim.AdamW([decayed, free], lr=recipe.rates[0], betas=(0.9, 0.98))
    checkpoint, begin = scratch / "checkpoint.pt", 0
    if checkpoint.is_file():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        begin = int(state["step"])
        yield f"going on from step {begin}"
    logged = saved = time.monotonic()
    losses: list[float] = []
    for step in range(begin, len(steps)):
        rng = np.random.default_rng([recipe.seed, step])
        batch = (plain if step < first else lesson).collate(steps[step], rng)
        for group in optimiser.param_groups:
            group["lr"] = rates[step]
        loss = lesson.loss(network(**batch.inputs), batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
        losses.append(loss.item())
        now = time.monotonic()
        if now - logged >= LOG_EVERY_S or step + 1 == len(steps):
            speed = len(losses) * recipe.batch / (now - logged)
            yield f"step {step + 1} of {len(steps)}: loss {np.mean(losses):.3f}, {speed:.1f} sentences/s"
            logged, losses = now, []
        if now - saved >= SAVE_EVERY_S or step + 1 == len(steps):
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").rename(checkpoint)
            saved = now


PREPROCESSING = {
    "feature_extractor_type": "ParakeetFeatureExtractor",
    "processor_class": "ParakeetProcessor",
    "feature_size": 80,
    "sampling_rate": 16_000,
    "hop_length": 160,
    "n_fft": 512,
    "win_length": 400,
    "preemphasis": 0.97,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
}


def save(model: ParakeetForCTC, out: Path) -> None:
    """Write configuration, preprocessing and weights; weights are stored in half precision, to be run in single."""
    config = {**model.config.to_diff_dict(), "architectures": ["ParakeetForCTC"], "dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n", encoding="utf-8")
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(halves, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library's default keeps other users out


def card(recipe: Recipe, sentences: int, samples: Samples, answers: list[str], levels: list[float]) -> str:
    """Return the model card."""
    texts = [samples.target(i) for i in range(len(samples))]
    quality = WordAccuracy().quality(answers, texts)
    rows = []
    for level in sorted(set(levels)):
        chosen = [i for i, found in enumerate(levels) if found == level]
        counts = count_errors([answers[i] for i in chosen], [texts[i] for i in chosen])
        rows.append(f"| {level:.0f} dB | {len(chosen)} | {100 * counts.errors.sum() / counts.words.sum():.1f} % |")
    table = "\n".join(rows)
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: automatic-speech-recognition
language: en
---
# FastConformer-CTC for shop-floor speech

Writes down short English commands, counts and part codes: "pick twenty one bolts from bay alpha nine".

- **All audio is synthetic.** espeak-ng speaks sentences of a small grammar; noise (hum, fans, clanks, other talkers)
  and reverberation are generated. The accuracy says how a compressed or ported copy compares with this model, and
  nothing about people in a real hall. No recording and no other model's weights went in.
- **Made by** `python workloads/speech/make_data.py train`, then
  `python workloads/speech/train.py --out workloads/speech/model`, seed {recipe.seed}; about an hour and a quarter on
  a shared CPU core. The shipped weights are of a run that was interrupted and continued, and whose first cycle of the
  learning rate was drawn out on the way: a new run agrees in kind and accuracy, not in bytes.
- **Network**: `ParakeetForCTC`, {recipe.layers} layers of width {recipe.hidden}, eightfold subsampling, {recipe.pieces}
  sub-words and the blank (the last token).
- **Data**: {sentences} training sentences in {len(TRAINING_TIMBRES)} timbres, at 0 to 30 dB of speech over noise;
  {sum(recipe.cycles)} seen. The evaluation's {len(EVALUATION_TIMBRES)} timbres are in no other split; accents and texts
  are shared.
- **Weights** are stored in half precision and run in single precision (`"dtype": "float32"` in `config.json`).
- **Accuracy**: word error rate {100 * (1 - (quality.value or 0)):.1f} % in fp32 on the {len(samples)} sentences that
  ship ({quality.low:.3f} to {quality.high:.3f} for the metric, one less the rate), measured from this folder;
  {quality.method}:

| speech over noise | sentences | word error rate |
|---|---|---|
{table}
"""


def measure(recipe: Recipe, out: Path) -> None:
    """Measure the folder as it will be read; print it and write the model card."""
    here = Path(__file__).parent
    size = DataSpec(seed=DATA_SEED, calibration=1, evaluation=100_000)
    task = SpeechTask(TaskSetup(model_dir=out, data=size, own=here / "data"))
    samples, network = task.samples(Split.EVALUATION), task.load_network(out)
    answers = []
    for index in range(len(samples)):
        inputs = task.encode(samples.raw(index))
        with torch.inference_mode():
            outputs = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        answers += task.decode([outputs[0].numpy()])
    lines = (here / "data" / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    levels = [float(json.loads(line)["snr_db"]) for line in lines]
    written = card(recipe, TRAIN.count, samples, answers, levels)
    (out / "README.md").write_text(written, encoding="utf-8")
    print(written[written.index("- **Accuracy**") :])


def learn(recipe: Recipe, out: Path, scratch: Path | None) -> None:
    """Train from nothing, or from the last checkpoint in `scratch`, and write the folder."""
    data = train_folder(DATA_SEED)
    samples = PackedSpeech(data, command="python workloads/speech/make_data.py train")
    lines = (data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    levels = np.array([json.loads(line)["snr_db"] for line in lines])
    scratch = scratch or data
    scratch.mkdir(parents=True, exist_ok=True)
    make_tokenizer(recipe, out)
    model = build(recipe)
    save(model, out)
    form = read_form(out)
    print(
        json.dumps(asdict(recipe)), f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True
    )
    for line in train(model, form, recipe, samples, levels=levels, scratch=scratch):
        print(line, flush=True)
    save(model.eval(), out)


def main() -> None:
    """Train, write the folder, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--scratch", type=Path, help="folder of features and checkpoints; the data's own if not given")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the folder and renew its card")
    given = parser.parse_args()
    recipe = Recipe()
    if not given.measure:
        learn(recipe, given.out, given.scratch)
    measure(recipe, given.out)


if __name__ == "__main__":
    main()
