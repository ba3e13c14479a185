"""The page of a fixed run, byte for byte. After a wanted change: LEPTONBENCH_UPDATE_GOLDEN=1 pytest tests/golden."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from leptonbench.report import render_report
from leptonbench.schema import Scenario, Status
from tests.report_factory import make_manifest, make_records, make_run

HERE = Path(__file__).parent


def _readable(page: str) -> str:
    """Leave out what other tests compare and what the compression library of a machine decides."""
    page = re.sub(r'(<script type="application/[^>]*>).*?</script>', r"\1…</script>", page, flags=re.DOTALL)
    page = re.sub(r"<(style|script)>.*?</\1>", r"<\1>…</\1>", page, flags=re.DOTALL)
    return re.sub(r"'sha256-[^']*'", "'sha256-…'", page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_rendering_twice_gives_the_same_bytes(lang: str) -> None:
    assert render_report(*make_run(), lang=lang) == render_report(*make_run(), lang=lang)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_as_reviewed(lang: str) -> None:
    kept = {("fp32", "onnxruntime"), ("int8-static", "onnxruntime"), ("int8-static", "fpga")}
    records = [
        record
        for record in make_records()
        if record.cell.scenario is Scenario.SINGLE_STREAM
        and ((record.cell.variant, record.cell.backend) in kept or record.status is not Status.OK)
    ]
    page = _readable(render_report(make_manifest(records), records, lang=lang))
    golden = HERE / f"report-{lang}.html.gz"
    if os.environ.get("LEPTONBENCH_UPDATE_GOLDEN"):
        golden.write_bytes(gzip.compress(page.encode(), 9, mtime=0))
    assert page == gzip.decompress(golden.read_bytes()).decode()
