"""The page in a real browser: scripts run under its own policy, and it reads without them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from leptonbench.report import render_report
from leptonbench.schema import SCHEMA_VERSION, CellRecord, RunManifest, Status
from tests.report_factory import make_manifest, make_records, make_run
from tests.report_page import Node, parse
from tests.suite_factory import make_suite_run

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it to check the report in a browser"),
]
Browse = Callable[..., str]
Run = tuple[RunManifest, list[CellRecord]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Return a function that opens a page and returns Chromium's standard output."""

    def run(page: str, *options: str) -> str:
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [
            CHROMIUM or "",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            f"--user-data-dir={tmp_path / 'profile'}",
            *options,
            path.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        refused = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not refused, refused
        return done.stdout

    return run


# Chromium's virtual clock runs ahead of work on other threads, such as decompression: each turn of the wait does some.
UNTIL = """
  const until = async (done) => {
    for (let turn = 0; turn < 2000 && !done(); turn += 1) await new Response(new Blob(["x"]).stream()).text();
  };
  await until(() => "ready" in document.documentElement.dataset);
"""


def with_script(page: str, script: str) -> str:
    """Let a test drive the page: its steps run once the page's own script is done, with the policy out of the way."""
    start = page.index("<meta http-equiv")
    page = page[:start] + page[page.index(">", start) + 1 :]
    return page.replace("</body>", f"<script>(async () => {{ {UNTIL} {script} }})()</script></body>")


def first_column(root: Node, table: str) -> list[str]:
    (found,) = root.find("table", id=table)
    return [row.find("a")[0].text() for row in found.find("tbody")[0].find("tr") if "hidden" not in row.attributes]


def test_the_script_runs_under_the_pages_own_policy(browse: Browse) -> None:
    root = parse(browse(render_report(*make_run()), "--dump-dom")).find("html")[0]
    assert "scripted" in (root.attributes["class"] or "")
    assert "data-ready" in root.attributes


def test_sorting_orders_by_value_and_keeps_absent_rows_last(browse: Browse) -> None:
    click = "document.querySelector('#t1 th[data-m=latency_p50] button').click();"
    page = render_report(*make_run())
    up = parse(browse(with_script(page, click), "--dump-dom"))
    column = [row.numbers()[0] for row in up.find("table", id="t1")[0].find("tr") if row.numbers()]
    assert column == sorted(column)
    absent = "document.querySelector('#t4 th[data-m=latency_p50] button').click();"
    down = parse(browse(with_script(page, absent * 2), "--dump-dom"))
    assert first_column(down, "t4") == ["fp32 onnxruntime", "int8-static onnxruntime"]
    (heading,) = [th for th in up.find("th") if "aria-sort" in th.attributes]
    assert heading.attributes["aria-sort"] == "ascending"
    back = parse(browse(with_script(page, click * 3), "--dump-dom"))
    assert first_column(back, "t1") == first_column(parse(page), "t1")


def test_a_chip_hides_rows_and_fades_points(browse: Browse) -> None:
    click = "document.querySelector('.chip[data-value=onnxruntime]').click();"
    root = parse(browse(with_script(render_report(*make_run()), click), "--dump-dom"))
    assert not [name for name in first_column(root, "t1") if "onnxruntime" in name]
    assert "fp32 torch" in first_column(root, "t1")
    faded = [point for point in root.find("a", class_="pt") if "off" in (point.attributes["class"] or "").split()]
    assert faded
    assert all("onnxruntime" in point.find("title")[0].text() for point in faded)


def test_the_language_switches_without_a_second_file(browse: Browse) -> None:
    press = """{ const before = document.documentElement.lang;
      document.querySelector("[data-do=language]").click();
      await until(() => document.documentElement.lang !== before); }"""
    page = render_report(*make_run())
    chinese = parse(browse(with_script(page, press), "--dump-dom"))
    assert chinese.find("html")[0].attributes["lang"] == "zh-Hans"
    assert chinese.find("h2", id="h-summary")[0].text() == "怎么选"
    english = parse(browse(with_script(page, press * 2), "--dump-dom"))
    assert english.find("h2", id="h-summary")[0].text() == "What to choose"


def test_a_chip_filters_every_workload_and_counts_its_own(browse: Browse) -> None:
    click = "document.querySelector('.chip[data-value=torch]').click();"
    page = render_report(*make_suite_run())
    root = parse(browse(with_script(page, click), "--dump-dom"))
    for part in root.find("section", class_="workload"):
        body = [row for table in part.find("table", class_="compare") for row in table.find("tr") if row.find("td")]
        kept = [row for row in body if "hidden" not in row.attributes]
        assert kept
        assert not [row for row in kept if row.attributes.get("data-b") == "torch"]
        (count,) = part.find("span", class_="shown")
        assert count.text() == f"{len(kept)} of {len(body)} cells shown"


def test_the_language_of_a_packed_page_switches_with_its_details(browse: Browse) -> None:
    press = """{ document.querySelector("[data-do=language]").click();
      await until(() => document.documentElement.lang === "zh-Hans" && document.querySelector("details.cell")); }"""
    manifest, records = make_suite_run()
    root = parse(browse(with_script(render_report(manifest, records), press), "--dump-dom"))
    tried = [record for record in records if record.status is not Status.SKIPPED]
    assert root.find("h2", id="h-details")[0].text() == "全部测试项"
    assert len(root.find("details", class_="cell")) == len(tried)


def test_packed_details_unfold(browse: Browse) -> None:
    records = [
        record.model_copy(update={"cell": record.cell.model_copy(update={"batch": batch})})
        for batch in (1, 2, 3, 4)
        for record in make_records()
    ]
    page = render_report(make_manifest(records), records)
    tried = [record for record in records if record.status is not Status.SKIPPED]
    assert not parse(page).find("details", class_="cell")
    assert len(parse(browse(page, "--dump-dom")).find("details", class_="cell")) == len(tried)


def test_saving_writes_the_embedded_records(browse: Browse) -> None:
    capture = """
      let kept = null;
      URL.createObjectURL = (blob) => { kept = blob; return "#"; };
      for (const what of ["json", "csv"]) {
        kept = null;
        document.querySelector(`[data-do=${what}]`).click();
        await until(() => kept !== null);
        const box = document.createElement("pre");
        box.id = `saved-${what}`;
        box.textContent = await kept.text();
        document.body.append(box);
      }"""
    root = parse(browse(with_script(render_report(*make_run()), capture), "--dump-dom"))
    saved = root.find("pre", id="saved-json")[0].text()
    assert saved.startswith('{"manifest":')
    assert saved.count(f'"schema_version":{SCHEMA_VERSION}') == len(make_records()) + 1
    lines = root.find("pre", id="saved-csv")[0].text().strip().split("\n")
    quantities = sum(len(record.metrics) or 1 for record in make_records())
    assert len(lines) == quantities + 1
    assert lines[0].startswith("workload,variant,backend,device,scenario,")
    assert any(",latency_p50,0.0312,s," in line for line in lines)


def test_it_reads_without_scripts(browse: Browse, tmp_path: Path) -> None:
    """Scripts are shut off by policy; tables, charts and details must be there all the same, and tools hidden."""
    page = render_report(*make_run())
    start = page.index("script-src")
    silent = page[:start] + "script-src 'none'" + page[page.index(";", start) :]
    silent = silent[: silent.rindex("<script>")] + "</body></html>"
    shot = tmp_path / "silent.png"
    root = parse(browse(silent, "--dump-dom"))
    tried = [record for record in make_records() if record.status is not Status.SKIPPED]
    assert len(root.find("details", class_="cell")) == len(tried)
    assert root.find("details", class_="missing")
    assert "scripted" not in (root.find("html")[0].attributes.get("class") or "")
    browse(silent, f"--screenshot={shot}", "--window-size=1300,900")
    assert len(set(Image.open(shot).convert("L").tobytes())) > 30


@pytest.mark.parametrize(("option", "dark"), [("", False), ("--force-dark-mode", True)])
def test_the_theme_follows_the_reader(browse: Browse, tmp_path: Path, option: str, *, dark: bool) -> None:
    shot = tmp_path / "shot.png"
    browse(render_report(*make_run()), f"--screenshot={shot}", "--window-size=1300,900", *([option] if option else []))
    with Image.open(shot) as image:
        corner = image.convert("L").getpixel((5, 890))
    assert isinstance(corner, int)
    assert (corner < 60) is dark


@pytest.mark.parametrize("make", [make_run, make_suite_run])
@pytest.mark.parametrize("width", [800, 1300])
def test_the_page_never_scrolls_sideways(browse: Browse, width: int, make: Callable[[], Run]) -> None:
    measure = "document.title = `${document.documentElement.scrollWidth} ${innerWidth}`;"
    page = with_script(
        render_report(*make()), f"document.querySelectorAll('details').forEach((d) => d.open = true); {measure}"
    )
    root = parse(browse(page, "--dump-dom", f"--window-size={width},900"))
    wide, inner = map(int, root.find("title")[0].text().split())
    assert wide <= inner
