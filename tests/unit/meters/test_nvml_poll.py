"""The process that polls: it says when it is ready, ends with its input, and its failure is an error in words."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest

from leptonbench.errors import MeasurementError
from leptonbench.meters import nvml_poll
from leptonbench.meters.nvml_poll import ProcessSampler

_GOOD = "import sys; print('ready', flush=True); sys.stdin.read(); print([[1, 50.5], [2, 51.5]])"


def sampler(code: str) -> ProcessSampler:
    return ProcessSampler([sys.executable, "-c", code])


def test_readings_come_from_another_process():
    one = sampler(_GOOD)
    for _ in range(2):
        one.start()
        assert one.stop() == [(1, 50.5), (2, 51.5)]


def test_a_child_that_cannot_read_says_why():
    with pytest.raises(MeasurementError, match="cannot be polled") as caught:
        sampler("print('no NVIDIA GPU: Driver Not Loaded')").start()
    assert caught.value.cause == "no NVIDIA GPU: Driver Not Loaded"


def test_a_child_that_dies_on_the_way_is_a_fault():
    one = sampler("print('ready', flush=True)")
    one.start()
    with pytest.raises(MeasurementError, match="failed"):
        one.stop()


def test_readings_are_started_before_they_are_stopped():
    with pytest.raises(MeasurementError, match="before they were started"):
        sampler(_GOOD).stop()


def test_polling_ends_when_its_input_closes(monkeypatch, capsys):
    readable, writable = os.pipe()
    readings = iter(range(1, 100))

    def read_w() -> float:
        watts = next(readings)
        if watts == 3:
            os.close(writable)
        return float(watts)

    with os.fdopen(readable) as closed_later:
        monkeypatch.setattr(sys, "stdin", closed_later)
        found = nvml_poll.poll(read_w, period_s=0.001)
    assert [watts for _, watts in found] == [1.0, 2.0, 3.0]
    assert [at_ns for at_ns, _ in found] == sorted(at_ns for at_ns, _ in found)
    assert capsys.readouterr().out == "ready\n"


def test_without_a_driver_the_process_says_so(monkeypatch, capsys):
    class Nothing:
        def __init__(self, index: int) -> None:
            raise MeasurementError("no NVIDIA GPU", cause="Driver Not Loaded")

    monkeypatch.setattr(nvml_poll, "Gpu", Nothing)
    nvml_poll.main(["0", "instant", "0.02"])
    assert capsys.readouterr().out == "no NVIDIA GPU: Driver Not Loaded\n"


@pytest.mark.parametrize(("field", "watts"), [("instant", 41.0), ("usage", 42.0)])
def test_the_process_reads_the_field_that_it_is_told(monkeypatch, capsys, field, watts):
    class Card:
        def __init__(self, index: int) -> None:
            assert index == 1

        def instant_w(self) -> float:
            return 41.0

        def usage_w(self) -> float:
            return 42.0

    monkeypatch.setattr(nvml_poll, "Gpu", Card)
    readable, writable = os.pipe()
    os.close(writable)
    with os.fdopen(readable) as ended:
        monkeypatch.setattr(sys, "stdin", ended)
        nvml_poll.main(["1", field, "0.02"])
    ready, told = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert json.load(io.StringIO(told))[0][1] == watts
