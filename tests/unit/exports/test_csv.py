from __future__ import annotations

import io

import pandas as pd
import pytest

from leptonbench.errors import UsageError
from leptonbench.exports import EXPORTERS
from leptonbench.exports.csv import export_csv
from leptonbench.schema import METRICS
from tests.report_factory import make_run


def test_pandas_reads_back_every_number() -> None:
    manifest, records = make_run()
    units = {f"{tag}_unit": str for tag in METRICS}
    frame = pd.read_csv(io.StringIO(export_csv(manifest, records)), keep_default_na=False, na_values=[""], dtype=units)
    assert len(frame) == len(records)
    assert set(frame["run"]) == {manifest.run_id}
    for (_, row), record in zip(frame.iterrows(), records, strict=True):
        assert row["status"] == record.status.value
        assert row["scenario"] == record.cell.scenario.value
        assert (row["reason"] if record.reason else None) == (record.reason.code if record.reason else None)
        for tag, quantity in record.metrics.items():
            assert row[f"{tag}_unit"] == quantity.unit
            for column, value in ((tag, quantity.value), (f"{tag}_low", quantity.low), (f"{tag}_high", quantity.high)):
                assert pd.isna(row[column]) if value is None else row[column] == value
            if quantity.value is None:
                assert row[f"{tag}_why_null"] == quantity.why_null
            else:
                assert row[f"{tag}_provenance"] == quantity.provenance


def test_columns_are_the_same_for_every_run() -> None:
    manifest, records = make_run()
    full, failed = (export_csv(manifest, part).splitlines()[0] for part in (records, records[-1:]))
    assert full == failed
    assert all(f"{tag}_why_null" in full.split(",") for tag in METRICS)


def test_an_empty_run_is_a_header() -> None:
    assert export_csv(make_run()[0], []) == "run\n"


def test_formats_are_found_by_name() -> None:
    assert EXPORTERS.get("csv") is export_csv
    with pytest.raises(UsageError, match="unknown export format `cvs`"):
        EXPORTERS.get("cvs")
