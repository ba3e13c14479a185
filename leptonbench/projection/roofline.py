"""What no projection may exceed: the rate at which a device's peak arithmetic is all used."""

from __future__ import annotations

OPERATIONS_PER_MAC = 2


def ceiling_per_s(macs: float, peak_ops_per_s: float) -> float:
    """Return the most samples a second that a device's arithmetic allows: peak / (2 x MACs).

    Memory and launches only lower it; with free batches the weights' traffic is shared by so many samples that it sets
    no bound of its own (Williams et al., Roofline, 2009).

    Args:
        macs: Multiply-accumulates of one sample.
        peak_ops_per_s: Dense, at the model's precision, a multiply-accumulate being two operations.

    Raises:
        ValueError: If either is not positive.
    """
    if not (macs > 0 and peak_ops_per_s > 0):
        raise ValueError(f"counts and peaks are positive, got {macs} and {peak_ops_per_s}")
    return peak_ops_per_s / (OPERATIONS_PER_MAC * macs)
