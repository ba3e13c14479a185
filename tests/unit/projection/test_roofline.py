from __future__ import annotations

import pytest

from leptonbench.projection.roofline import ceiling_per_s


def test_the_ceiling_is_peak_over_two_operations_a_mac() -> None:
    # ResNet-50: 4.1 GMAC; a T4's 130 TOP/s in int8 allow 15,854 a second, and 6,200 were published.
    assert ceiling_per_s(4.1e9, 130e12) == pytest.approx(15_853.66, rel=1e-6)


@pytest.mark.parametrize(("macs", "peak"), [(0.0, 1e12), (1e9, 0.0), (-1.0, 1e12)])
def test_nothing_has_no_ceiling(macs: float, peak: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        ceiling_per_s(macs, peak)
