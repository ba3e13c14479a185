"""Answers to sentences, from templates in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from leptonbench.report.choice import RULES, Answer, answer
from leptonbench.report.compress import Verdict
from leptonbench.report.fragments import amount, cell_link, times
from leptonbench.report.i18n import Translator
from leptonbench.report.naming import Namer
from leptonbench.report.numbers import figure, plain
from leptonbench.report.verdicts import VariantTable
from leptonbench.schema import CellRecord, Provenance, RunManifest, WorkloadSpec

_DECIDES = (Verdict.PAYS, Verdict.ENGINE, Verdict.SMALLER, Verdict.INACCURATE)


class Line(NamedTuple):
    """One question with its answer; `muted` where nothing qualifies, `small` where there is much to say."""

    question: Markup
    sentences: tuple[Markup, ...]
    muted: bool = False
    small: bool = False


class WorkloadSummary(NamedTuple):
    """Everything decided for one workload."""

    name: str
    title: str
    criteria: Markup
    lines: tuple[Line, ...]


class Summariser:
    """Write the decision summary of one run in one language."""

    def __init__(
        self, manifest: RunManifest, records: Sequence[CellRecord], translate: Translator, namer: Namer
    ) -> None:
        self._manifest = manifest
        self._records = records
        self._t = translate
        self._namer = namer

    def workload(self, name: str, table: VariantTable | None, *, anchor: str) -> WorkloadSummary:
        """Return the summary of one workload.

        Args:
            name: Of the workload.
            table: What was judged of its compressions, if there are any.
            anchor: Page fragment of that table.
        """
        spec = next((spec for spec in self._manifest.workloads if spec.name == name), None)
        lines = [self._answer(answer(rule, name, self._records)) for rule in RULES]
        if table is not None:
            lines.append(self._compression(table, anchor))
        title = self._t.text(spec.title) if spec else name
        return WorkloadSummary(name, title, self._criteria(name, spec), tuple(lines))

    def _criteria(self, name: str, spec: WorkloadSpec | None) -> Markup:
        suite = self._manifest.suite
        target = self._t(
            "criteria.target",
            target=plain(suite.target_s(name), "s"),
            percentile=f"p{suite.latency_percentile * 100:g}",
        )
        if spec is None:
            return target
        floor = self._t(
            "criteria.quality",
            name=spec.quality.name,
            floor=plain(spec.quality.floor, spec.quality.unit, "quality"),
            share=f"{(suite.relative_floor or spec.quality.relative_floor) * 100:g}",
        )
        return self._t("criteria.both", quality=floor, target=target)

    def _answer(self, found: Answer) -> Line:
        question = self._t(f"question.{found.rule.question.value}")
        if found.best is None:
            return Line(question, (self._nothing(found),), muted=True)
        tag = found.rule.metric
        sentences = [
            self._t(
                "answer.best",
                cell=self._strong(found.best),
                metric=self._t.metric(tag),
                amount=amount(self._t, found.best, tag),
                scenario=self._t(f"scenario.{found.best.cell.scenario.value}"),
            )
        ]
        sentences += self._quality(found.best)
        sentences += self._followers(found, tag)
        return Line(question, tuple(sentences))

    def _quality(self, record: CellRecord) -> list[Markup]:
        quality = record.metrics.get("quality")
        if quality is None or quality.value is None:
            return []
        shown = figure("quality", quality)
        name = Markup('<span class="nb">{}</span>').format(quality.name or self._t.metric("quality"))
        return [self._t("answer.quality", name=name, value=f"{shown.text}\u00a0{shown.unit}")]

    def _followers(self, found: Answer, tag: str) -> list[Markup]:
        sentences = []
        if found.tied:
            names = self._t.join([self._rival(record, tag) for record in found.tied[:3]])
            key = "answer.tied_more" if len(found.tied) > 3 else "answer.tied"
            sentences.append(self._t(key, cells=names, more=len(found.tied) - 3))
        if found.next_clear is not None and found.times is not None:
            link = self._rival(found.next_clear, tag)
            sentences.append(self._t(f"answer.next.{found.rule.question.value}", cell=link, times=self._times(found)))
        elif found.next_clear is not None:
            sentences.append(self._t("answer.next.plain", cell=self._rival(found.next_clear, tag)))
        elif not found.tied:
            sentences.append(self._t("answer.alone"))
        return sentences

    def _rival(self, record: CellRecord, tag: str) -> Markup:
        """Name a cell that was compared, with the origin of its number where that is not a measurement."""
        kind = record.metrics[tag].provenance
        if kind is None or kind is Provenance.MEASURED:
            return self._link(record)
        return self._t("prose.rival", cell=self._link(record), provenance=self._t(f"provenance.{kind.value}"))

    def _times(self, found: Answer) -> Markup:
        return times(self._t, found.times) if found.times is not None else Markup("")

    def _nothing(self, found: Answer) -> Markup:
        metric = self._t.metric(found.rule.metric)
        if not found.candidates:
            return self._t("nothing.no_number", metric=metric)
        key = "nothing.quality" if found.rejected_quality == found.candidates else "nothing.target"
        return self._t(key, candidates=found.candidates, quality=found.rejected_quality, target=found.rejected_target)

    def _compression(self, table: VariantTable, anchor: str) -> Line:
        """Say what pays and what must not be ranked; the table that it comes from says the rest, and why."""
        scenario = self._t(f"scenario.{table.compression.scenario.value}")
        sentences = [sentence for verdict, sentence in table.sentences if verdict in _DECIDES]
        sentences.append(self._t("compress.see", anchor=anchor))
        return Line(self._t("question.compression", scenario=scenario), tuple(sentences), small=True)

    def _link(self, record: CellRecord) -> Markup:
        return cell_link(record, self._namer)

    def _strong(self, record: CellRecord) -> Markup:
        return Markup("<strong>{}</strong>").format(self._link(record))
