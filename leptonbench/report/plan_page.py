"""A plan as one self-contained HTML page: no script, no request, the plan's data inside."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from leptonbench._version import __version__
from leptonbench.report import render
from leptonbench.report.fragments import badge
from leptonbench.report.i18n import HTML_LANG, Translator
from leptonbench.report.plan_charts import Bar, bars_svg, week_svg
from leptonbench.report.plan_view import PlanView, as_figure, build_plan_view, money, plan_translator, with_unit
from leptonbench.schema.plan import PlanDocument

_PLACES = 12  # of the ranking's chart


def render_plan(document: PlanDocument, *, lang: str = "en") -> str:
    """Return a plan as one HTML page; the same plan gives the same bytes.

    Raises:
        UsageError: If there is no such language.
        StorageError: If the page's own templates or messages cannot be read.
    """
    translate = plan_translator(lang)
    view = build_plan_view(document, translate)
    style = render.asset("report.css") + render.asset("plan.css")
    return (
        render.environment()
        .get_template("plan.html.j2")
        .render(
            t=translate,
            html_lang=HTML_LANG[lang],
            view=view,
            document=document,
            style=Markup(style),
            style_hash=Markup(render.csp_hash(style)),
            ranking=_ranking_chart(view, translate),
            tornado=_tornado(view, translate),
            week=week_svg(
                document.demand.rates_per_s,
                title=str(translate("week.chart")),
                axis_name=str(translate("week.axis")),
            ),
            data=render.pack(document.model_dump_json(exclude_none=True), plain_below=render.PLAIN_RECORDS_BYTES),
            shown=as_figure,
            money=money,
            with_unit=with_unit,
            version=__version__,
            badge=lambda kind: badge(translate, kind),
            lang=lang,
        )
    )


def write_plan(document: PlanDocument, *, out: Path, lang: str = "en") -> Path:
    """Write a plan's page to `out`, whole or not at all, and return its path; missing folders are made.

    Raises:
        StorageError: If the file cannot be written there.
        UsageError: If there is no such language.
    """
    return render.write_page(render_plan(document, lang=lang), out=out)


def _ranking_chart(view: PlanView, translate: Translator) -> Markup | None:
    bars = []
    for place, name in view.ranking[:_PLACES]:
        usd = place.usd_horizon
        value = usd.value or 0.0
        low, high = (value if end is None else end for end in (usd.low, usd.high))
        label = name if usd.high is not None else translate("ranking.open", name=name)
        bars.append(Bar(str(label.striptags()), value, low, high, f"{name.striptags()}: {money(usd)}"))
    return bars_svg("ranking", bars, title=str(translate("ranking.chart"))) if bars else None


def _tornado(view: PlanView, translate: Translator) -> Markup | None:
    document = view.document
    swings = [swing for swing in document.swings if swing.usd_at_low != swing.usd_at_high]
    if not swings or not document.ranking:
        return None
    bars = []
    for swing in swings:
        ends = with_unit(swing.low, swing.unit), with_unit(swing.high, swing.unit)
        start, end = ends if swing.usd_at_low <= swing.usd_at_high else ends[::-1]
        tip = f"{swing.name}: USD {swing.usd_at_low:,.0f} … {swing.usd_at_high:,.0f}"
        low, high = sorted((swing.usd_at_low, swing.usd_at_high))
        bars.append(Bar(swing.name, None, low, high, tip, start, end))
    centre = document.ranking[0].usd_horizon.value
    return bars_svg("tornado", bars, title=str(translate("tornado.chart")), centre=centre)
