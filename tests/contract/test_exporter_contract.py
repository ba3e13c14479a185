"""What every exporter owes: any run, the same each time, with every cell in it and no number made up."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from leptonbench.exports import EXPORTERS, Exported, Folder
from leptonbench.schema import Status
from tests.report_factory import make_run


@pytest.fixture(params=EXPORTERS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def text_of(exported: Exported) -> str:
    """Return what an exporter wrote as text: a folder as all its paths and files, a table as its rows."""
    if isinstance(exported, Folder):
        return "".join(f"{name}\n{text}" for name, text in exported.files.items())
    if isinstance(exported, bytes):
        return pd.read_parquet(io.BytesIO(exported)).to_csv(index=False)
    return exported


def test_a_run_becomes_the_same_each_time(name: str) -> None:
    first, second = (EXPORTERS.get(name)(*make_run()) for _ in range(2))
    assert first == second
    text = text_of(first)
    assert text.strip() and text.endswith("\n")


def test_every_measured_cell_is_in_it(name: str) -> None:
    manifest, records = make_run()
    text = text_of(EXPORTERS.get(name)(manifest, records))
    measured = [
        record for record in records if record.status is Status.OK and record.rounds
    ]  # simulated ones have none
    assert measured
    for record in measured:
        assert record.cell.variant in text and record.cell.backend in text
    for record in measured:
        without = [other for other in records if other.cell.key != record.cell.key]
        assert text_of(EXPORTERS.get(name)(manifest, without)) != text


def test_a_run_of_nothing_has_no_cells(name: str) -> None:
    manifest, records = make_run()
    text = text_of(EXPORTERS.get(name)(manifest, []))
    assert not any(record.cell.backend in text for record in records)


def test_what_is_not_a_number_is_not_written_as_one(name: str) -> None:
    words = text_of(EXPORTERS.get(name)(*make_run())).casefold().replace(",", " ").split()
    assert {"nan", "inf", "-inf", "infinity"} & set(words) == set()
