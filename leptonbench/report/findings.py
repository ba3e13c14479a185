"""What is known of a compressed variant beyond its figures, in sentences: causes found, facts its steps left, gaps.

Nothing is concluded here: a cause is said only where a check wrote it into the record, a fact only where a step did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from leptonbench.report.choice import ReasonGroup, metric_of
from leptonbench.report.compress import Compression, Judged, Verdict
from leptonbench.report.fragments import foreign, listed
from leptonbench.report.i18n import Translator
from leptonbench.report.numbers import bounds, plain, write
from leptonbench.schema import Cause, CellRecord, Status

_NOT_FASTER = (Verdict.SMALLER, Verdict.INDISTINCT, Verdict.SLOWER)
_DENSE = frozenset({"prune-weights", "sparse-2:4", "share-weights"})
_UNCHANGED = frozenset({"dense-kernels", "shared-weights"})
_WORTH_SAYING = 0.8  # realised speedups at this share of theory or more are as expected
_SHOWN_NODES = 4
_QUOTED = re.compile("`([^`]+)`")


def say_cause(cause: Cause, translate: Translator) -> Markup:
    """Return a cause in the reader's language; its code and values where the catalogue does not know it."""
    key = f"cause.{cause.code}.text"
    if not translate.has(key):
        values = ", ".join(f"{name} = {value}" for name, value in cause.values.items())
        return Markup("<code>{}</code> {}").format(cause.code, values)
    shown = {name: _friendly(name, value) for name, value in cause.values.items()}
    text, hint = translate(key, **shown), f"cause.{cause.code}.hint"
    if translate.has(hint):
        text += translate("notice.hint", hint=translate(hint, **shown)) + translate("list.stop")
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(text)))


def _friendly(name: str, value: str) -> str:
    """Return a cause's value as people write it; checks give counts of multiplications as plain numbers."""
    return plain(float(value), "1") if name == "macs" else value


class Findings:
    """Word what the records say of one workload's variants, in one language."""

    def __init__(self, compression: Compression, translate: Translator) -> None:
        self._all = compression
        self._t = translate

    def of(self, judged: Judged) -> tuple[Markup, ...]:
        """Return everything worth saying of one variant, the most important first."""
        if judged.verdict is Verdict.BASELINE:
            return ()
        parts = [
            *self._causes(judged),
            *self._theory(judged),
            *self._same_products(judged),
            *self._executed(judged),
            *self._floors(judged),
            *self._facts(judged.best),
            *self._absent(judged),
        ]
        return tuple(parts)

    def _causes(self, judged: Judged) -> Iterator[Markup]:
        """Yield each cause once, with the engines that it holds for."""
        found: dict[str, list[str]] = {}
        causes: dict[str, Cause] = {}
        for backend, record in judged.by_backend.items():
            for cause in record.causes:
                key = cause.model_dump_json()
                causes[key] = cause
                found.setdefault(key, []).append(backend)
        for key, backends in found.items():
            text = say_cause(causes[key], self._t)
            yield self._t("finding.cause", backends=listed(self._t, backends), text=text)
        unexplained = [
            backend for backend, record in judged.by_backend.items() if not record.causes and _is_not_faster(record)
        ]
        if unexplained:
            yield self._t("finding.no_cause", backends=listed(self._t, unexplained))

    def _theory(self, judged: Judged) -> Iterator[Markup]:
        if judged.best is None:
            return
        real, theory = metric_of(judged.best, "speedup"), metric_of(judged.best, "theoretical_speedup")
        if real is None or theory is None or not real.value or not theory.value or theory.value <= 1:
            return
        if real.value < _WORTH_SAYING * theory.value:
            share = f"{100 * real.value / theory.value:.0f}"
            whole = write(theory.value, 2)
            yield self._t("finding.theory", share=share, theory=whole, backend=judged.best.cell.backend)

    def _same_products(self, judged: Judged) -> Iterator[Markup]:
        """Say of zeros and shared values what they do save, where the counts show that work is as much as before."""
        best, base = judged.best, self._all.base
        if best is None or base is None or best.artifact is None or base.artifact is None:
            return
        techniques = {step.technique for step in best.artifact.recipe}
        same = best.artifact.macs == base.artifact.macs
        if techniques and techniques <= _DENSE and same and judged.verdict in _NOT_FASTER and judged.stored_bytes:
            kept, whole = plain(judged.stored_bytes, "B"), plain(base.artifact.size_bytes, "B")
            said = any(cause.code in _UNCHANGED for cause in best.causes)
            yield self._t("finding.kept" if said else "finding.same_products", kept=kept, whole=whole)

    def _executed(self, judged: Judged) -> Iterator[Markup]:
        """Say where an engine computed in another precision than the variant's name says."""
        found: dict[str, list[str]] = {}
        for backend, record in judged.by_backend.items():
            executed = record.settings.effective.get("executed_precision")
            said = any(cause.code == "upcast" for cause in record.causes)
            if executed and not said and record.artifact and str(executed) != record.artifact.precision:
                found.setdefault(str(executed), []).append(backend)
        for executed, backends in found.items():
            yield self._t("finding.executed", backends=listed(self._t, backends), precision=executed)

    def _floors(self, judged: Judged) -> Iterator[Markup]:
        """Say on which engines it misses the floor, where it does not miss it on all."""
        below = [backend for backend, record in judged.by_backend.items() if record.meets_quality is False]
        if below and len(below) < len(judged.by_backend):
            yield self._t("finding.below", backends=listed(self._t, below))

    def _absent(self, judged: Judged) -> Iterator[Markup]:
        """Say why cells are missing; what the suite leaves out by choice only where nothing was measured."""
        groups = [group for group in judged.absent if not judged.cells or group.code not in ("excluded", "budget")]
        skipped = [group for group in groups if group.status is Status.SKIPPED]
        if judged.cells and len(skipped) > 1:
            yield self._t("finding.not_on", backends=listed(self._t, _backends(*skipped)))
            groups = [group for group in groups if group.status is not Status.SKIPPED]
        for group in groups:
            why = foreign(self._t, group.message.rstrip(".")) if group.message else self._t("absent.none")
            yield self._t(f"finding.{group.status.value}", backends=listed(self._t, _backends(group)), why=why)

    def _facts(self, record: CellRecord | None) -> Iterator[Markup]:
        if record is None or record.artifact is None:
            return
        by_technique = record.artifact.facts.get("steps")
        if not isinstance(by_technique, Mapping):
            return
        for step in record.artifact.recipe:
            facts = by_technique.get(step.technique)
            if isinstance(facts, Mapping):
                yield from self._step(facts, record)

    def _step(self, facts: Mapping[str, Any], record: CellRecord) -> Iterator[Markup]:
        yield from self._counts(facts)
        yield from self._tuned(facts)
        yield from self._sensitivity(facts)
        if layers := facts.get("left_dense"):
            yield self._t("finding.left_dense", layers=self._nodes(layers))
        tuning = facts.get("tuning")
        if isinstance(tuning, Mapping) and tuning.get("cut_by_budget"):
            yield self._t("finding.cut", steps=tuning.get("steps", ""), planned=tuning.get("planned_steps", ""))

    def _counts(self, facts: Mapping[str, Any]) -> Iterator[Markup]:
        before, after = facts.get("parameters_before"), facts.get("parameters_after")
        if before and after:
            yield self._t("finding.parameters", before=plain(before, "1"), after=plain(after, "1"))
        if (calibration := facts.get("calibration")) and (samples := facts.get("calibration_samples")):
            yield self._t("finding.calibration", method=calibration, n=samples)

    def _tuned(self, facts: Mapping[str, Any]) -> Iterator[Markup]:
        """Say what tuning brought, and what a teacher added, on samples that it did not see."""
        told = [
            self._t(f"finding.quality.{key}", value=plain(facts[f"quality_{key}"], "1", "quality"))
            for key in ("uncompressed", "before_tuning", "after_tuning")
            if isinstance(facts.get(f"quality_{key}"), int | float)
        ]
        if told:
            yield self._t("finding.held_out", facts=self._t("list.facts").join(told))
        alone, taught = facts.get("quality_without_teacher"), facts.get("quality_after_tuning")
        if isinstance(alone, int | float) and isinstance(taught, int | float):
            yield self._t(
                "finding.teacher",
                alone=plain(alone, "1", "quality"),
                gain=plain(taught - alone, "1", "quality_delta"),
            )

    def _sensitivity(self, facts: Mapping[str, Any]) -> Iterator[Markup]:
        found = facts.get("sensitivity")
        if not isinstance(found, Mapping):
            return
        before, after, excluded = (found.get(k) for k in ("loss_all_quantised", "loss_after_exclusion", "excluded"))
        by, n = found.get("judged_by", "outputs"), found.get("samples", "")
        if excluded and after and isinstance(before, int | float):
            ends = {"before": f"{before:.3f}", "after": f"{after[-1]:.3f}"}
            yield self._t(f"finding.excluded.{by}", nodes=self._nodes(excluded), n=n, **ends)
        elif isinstance(before, int | float):
            yield self._t(f"finding.none_excluded.{by}", before=f"{before:.3f}", n=n)

    def _nodes(self, names: list[str]) -> Markup:
        shown = [Markup("<code>{}</code>").format(name) for name in names[:_SHOWN_NODES]]
        more = len(names) - len(shown)
        joined = self._t("list.between").join(shown)
        return self._t("finding.more", names=joined, n=more) if more else joined


def _backends(*groups: ReasonGroup) -> list[str]:
    return list(dict.fromkeys(record.cell.backend for group in groups for record in group.records))


def _is_not_faster(record: CellRecord) -> bool:
    """Tell whether a cell was compared with fp32 and is not clearly faster."""
    speedup = metric_of(record, "speedup")
    return record.status is Status.OK and speedup is not None and bounds(speedup)[0] <= 1
