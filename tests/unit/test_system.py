"""What the harness reads of its own process."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ASK = "from leptonbench.harness.system import peak_memory_bytes as peak; print(peak())"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hand the peak down")
def test_the_peak_of_a_parent_is_not_its_childs():
    ballast = bytearray(300_000_000)
    assert len(ballast) > 0
    shown = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert 1_000_000 < int(shown.stdout) < 200_000_000
