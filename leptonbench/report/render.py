"""View model to one self-contained HTML page: templates, inlined assets, packed records, a strict policy by hash."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from leptonbench.errors import StorageError
from leptonbench.paths import data_root
from leptonbench.report import fragments
from leptonbench.report.charts import MARKERS, PALETTE_SIZE
from leptonbench.report.i18n import HTML_LANG, LANGUAGES, Translator
from leptonbench.report.numbers import figure, plain
from leptonbench.report.view import build_view
from leptonbench.schema import METRICS, CellRecord, RunManifest, Status

PLAIN_RECORDS_BYTES = 24_000
"""Records up to this size are embedded as readable JSON; larger ones are compressed."""

PACK_ABOVE_CELLS = 60
"""With more cells that were tried, details are compressed and unfold by script: the file stays small enough to mail,
and everything above the details readable without scripts."""

BILINGUAL_CELLS = 150
"""With more cells that were tried, the other language is left to the command line."""


class Packed(NamedTuple):
    """Text embedded in the page: JSON as it is, or gzip in base64."""

    kind: str
    text: Markup


def pack(text: str, *, plain_below: int = 0) -> Packed:
    """Return `text` for a data block in the page; compressed from `plain_below` bytes on.

    The compressed form holds no time stamp: the same text packs to the same bytes.
    """
    raw = text.encode()
    if len(raw) < plain_below:
        safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        return Packed("application/json", Markup(safe))
    return Packed("application/gzip", Markup(base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()))


def csp_hash(text: str) -> str:
    """Return the Content-Security-Policy source of one inline style sheet or script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def records_json(manifest: RunManifest, records: Sequence[CellRecord]) -> str:
    """Return the manifest and the records as the page embeds and saves them."""
    document = {
        "manifest": manifest.model_dump(mode="json", exclude_none=True),
        "records": [record.model_dump(mode="json", exclude_none=True) for record in records],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@cache
def template_environment() -> jinja2.Environment:
    """Return the templates with what every page may use in them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_root() / "reports" / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        data=fragments.data,
        figure=figure,
        interval=fragments.interval,
        letter=fragments.letter,
        markers=MARKERS,
        metrics=METRICS,
        palette=range(PALETTE_SIZE),
        names=lambda names: [escape(name) for name in names],
        plain=plain,
        ratio=fragments.ratio_text,
        ratio_span=fragments.ratio_span,
    )
    environment.filters["exact"] = repr
    environment.filters["sentence"] = lambda text: text if text.endswith((".", "!", "?")) else f"{text}."
    return environment


def read_asset(name: str) -> str:
    """Return a style sheet or script.

    Raises:
        StorageError: If it is missing: the installation is broken.
    """
    path = data_root() / "reports" / "assets" / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot read the report's `{name}`", cause=str(error), hint="reinstall leptonbench"
        ) from error


def _body(manifest: RunManifest, records: Sequence[CellRecord], translate: Translator, *, tried: int) -> Markup:
    """Return everything inside the page's body in one language; `tried` counts the cells that have details."""
    big = tried > PACK_ABOVE_CELLS
    environment = template_environment()
    view = build_view(manifest, records, translate)
    context: dict[str, Any] = {
        "view": view,
        "t": translate,
        "badge": lambda kind: fragments.badge(translate, kind),
        "lang": translate.lang,
        "bilingual": tried <= BILINGUAL_CELLS,
    }
    details = environment.get_template("details.html.j2").render(context)
    context["details"] = None if big else Markup(details)
    context["packed_details"] = pack(details) if big else None
    return Markup(environment.get_template("body.html.j2").render(context))


def render_report(manifest: RunManifest, records: Sequence[CellRecord], *, lang: str = "en") -> str:
    """Return the report of one run as one HTML page that needs nothing else and makes no request.

    The page is written in `lang`; the other language travels with it, compressed, for the reader to switch to. The
    same manifest and records give the same bytes.

    Args:
        manifest: The run.
        records: Its cells' records; the report shows all of them, whatever their status.
        lang: `en` or `zh`.

    Raises:
        UsageError: If there is no such language.
        StorageError: If the report's own templates or messages cannot be read.
    """
    tried = sum(record.status is not Status.SKIPPED for record in records)
    other = next(name for name in LANGUAGES if name != lang)
    translate = Translator(lang)
    body = _body(manifest, records, translate, tried=tried)
    other_body = _body(manifest, records, Translator(other), tried=tried) if tried <= BILINGUAL_CELLS else ""
    style, script = read_asset("report.css"), read_asset("report.js")
    return (
        template_environment()
        .get_template("page.html.j2")
        .render(
            t=translate,
            html_lang=HTML_LANG[lang],
            other_lang=HTML_LANG[other],
            title=translate("page.title", title=translate.text(manifest.suite.title), run=manifest.run_id),
            body=body,
            other=pack(other_body) if other_body else None,
            records=pack(records_json(manifest, records), plain_below=PLAIN_RECORDS_BYTES),
            style=Markup(style),
            script=Markup(script),
            style_hash=Markup(csp_hash(style)),
            script_hash=Markup(csp_hash(script)),
            file_stem=f"leptonbench-{manifest.run_id}",
        )
    )


def write_report(manifest: RunManifest, records: Sequence[CellRecord], *, out: Path, lang: str = "en") -> Path:
    """Write the report to `out`, whole or not at all, and return its path.

    Missing parent folders are made.

    Raises:
        StorageError: If the file cannot be written there.
        UsageError: If there is no such language.
    """
    return write_page(render_report(manifest, records, lang=lang), out)


def write_page(page: str, out: Path) -> Path:
    """Write a page whole or not at all, and return its path.

    Raises:
        StorageError: If the file cannot be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _replace(out, page)
    except OSError as error:
        raise StorageError(
            f"cannot write the report to `{out}`",
            cause=error.strerror or str(error),
            hint="choose another place with `--out FILE`",
        ) from error
    return out


def _replace(out: Path, page: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(page)
        temporary.chmod(0o644)
        temporary.replace(out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
