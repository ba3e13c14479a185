"""Speech recognition: one utterance in, its transcript out; scored by one less the word error rate.

Two kinds of network are read: CTC (Parakeet, Wav2Vec2, HuBERT and relatives), one graph decoded greedily, and Whisper,
an encoder and a decoder driven token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from leptonbench.errors import NotApplicable, UsageError
from leptonbench.tasks.audio import Clip, resample
from leptonbench.tasks.audio_corpus import SpeechManifest
from leptonbench.tasks.audio_features import FrontEnd, front_end
from leptonbench.tasks.audio_packed import PackedSpeech, train_folder
from leptonbench.tasks.base import Arrays, Run, Samples, Split, TaskSetup
from leptonbench.tasks.ctc import CtcForm, Vocabulary, read_form
from leptonbench.tasks.seq2seq import Seq2SeqForm, is_seq2seq, read_seq2seq, transcribe
from leptonbench.tasks.wer import WordAccuracy

if TYPE_CHECKING:
    from leptonbench.tasks.base import Lesson
    from leptonbench.tasks.network import Network

TRAIN_COMMAND = "python workloads/speech/make_data.py train"


class SpeechTask:
    """Recognition of single utterances; see `leptonbench.tasks.base.Task`.

    An ONNX file has neither front end nor vocabulary: the JSON files of the folder it lies in say both, and
    `check_outputs` refuses it if its logits do not fit. The workload's own model's serve only until a model of the hub
    is here.

    Args:
        setup: Model folder, sizes of the splits, a user's manifest.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, setup: TaskSetup) -> None:
        self._setup = setup
        self.metric = WordAccuracy()
        folder = setup.model_dir or (setup.workload_dir / "model" if setup.workload_dir else None)
        if folder is None:
            raise UsageError(
                "the speech task needs a model's folder for its front end and vocabulary",
                hint="give a Hugging Face folder, or an ONNX file with the folder's JSON files beside it",
            )
        self._folder = folder
        self._front: FrontEnd = front_end(folder)

    @cached_property
    def _form(self) -> CtcForm:
        return read_form(self._folder)

    @cached_property
    def _dialogue(self) -> tuple[Seq2SeqForm, Vocabulary] | None:
        """What drives an encoder and a decoder; `None` for CTC."""
        return read_seq2seq(self._folder) if is_seq2seq(self._folder) else None

    def samples(self, split: Split) -> Samples:
        """Return one split: the workload's recordings or a user's, decoded when asked for."""
        data, own = self._setup.data, self._setup.own
        if split is Split.TRAIN:
            if own is not None:
                raise ValueError("a user's recordings have no training split: tune on the calibration split")
            return PackedSpeech(train_folder(data.seed), command=TRAIN_COMMAND)
        limit = data.calibration if split is Split.CALIBRATION else data.evaluation
        source = own
        if source is None:
            if self._setup.workload_dir is None:
                raise UsageError("the speech task has no recordings", hint="give a manifest with `--data`")
            source = self._setup.workload_dir / "data"
        return SpeechManifest(source, split, limit=limit, rate_hz=self._front.rate_hz)

    def encode(self, raw: Clip) -> Arrays:
        """Return the network's inputs for one recording, resampled to the model's rate if need be."""
        return self._front(resample(raw.wave, raw.rate_hz, self._front.rate_hz))

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[str]:
        """Return the transcripts of a batch: of CTC logits [batch, frames, tokens], or of Whisper's tokens."""
        if self._dialogue is None:
            return self._form.decode(outputs[0])
        form, vocabulary = self._dialogue
        return [vocabulary.text(form.words(row)) for row in outputs[0]]

    def load_network(self, folder: Path, *, weights: bool = True) -> Network:
        """Load a folder as an fp32 network in evaluation mode; Whisper's decoder follows its encoder.

        Raises:
            UsageError: If it is neither CTC nor Whisper, or its vocabulary or front end cannot be read.
        """
        if is_seq2seq(folder):
            from leptonbench.tasks.seq2seq_network import load_seq2seq

            read_seq2seq(folder)
            return load_seq2seq(folder, weights=weights)
        from leptonbench.tasks.ctc_network import load_ctc

        return load_ctc(folder, read_form(folder), weights=weights)

    def couple(self, first: Run, second: Run) -> Run:
        """Drive Whisper's encoder and decoder as one: features in, tokens [batch, length] out."""
        if self._dialogue is None:
            raise ValueError("CTC networks have no follower")
        form, _ = self._dialogue

        def run(inputs: Arrays) -> list[NDArray[Any]]:
            states = first(inputs)[0]
            return [
                transcribe(
                    states, lambda ids, held: second({"decoder_input_ids": ids, "encoder_hidden_states": held})[0], form
                )
            ]

        return run

    def check_outputs(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Refuse outputs that are not logits [batch, frames, tokens] over the vocabulary.

        Raises:
            UsageError: Saying what was found and what is read.
        """
        if self._dialogue is not None:
            raise UsageError(
                "the speech task runs Whisper from its folder",
                cause="an ONNX file holds one graph; Whisper is an encoder and a decoder",
                hint="give the Hugging Face folder: both are exported from it",
            )
        size = self._form.size
        first = shapes[0] if shapes else ()
        if len(first) == 3 and first[2] in (None, size):
            return
        found = "; ".join("x".join("?" if side is None else str(side) for side in shape) for shape in shapes)
        raise UsageError(
            "the speech task cannot read the model's outputs",
            cause=f"found {found or 'no output'}; read are CTC logits, batch x frames x {size}",
            hint=f"export the logits first, over the vocabulary in `{self._folder}`",
        )

    def studied(self, split: Split) -> Samples:
        """Return what lessons from a split read: the split."""
        return self.samples(split)

    def lesson(self, split: Split) -> Lesson:
        """Return lessons from a split.

        Raises:
            NotApplicable: If the model is no CTC network.
        """
        if self._dialogue is not None:
            raise NotApplicable(
                "there are no lessons for a model of an encoder and a decoder",
                cause="its two networks would have to be tuned as one",
                hint="casts and quantisation work on both",
            )
        from leptonbench.tasks.ctc_lesson import CtcLesson

        samples = self.studied(split)
        count = range(len(samples))
        return CtcLesson(
            lambda index: self.encode(samples.raw(index)),
            [samples.target(index) for index in count],
            [samples.duration_s(index) or 0.0 for index in count],
            form=self._form,
        )
