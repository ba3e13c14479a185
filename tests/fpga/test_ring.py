"""A buffer that is given out round and round, against a list of all that lies in it."""

from __future__ import annotations

import random

import pytest

from leptonbench.fpga.compiler.schedule import Ring, Schedule
from leptonbench.fpga.isa import Load


@pytest.mark.parametrize("seed", range(20))
def test_what_is_overwritten_is_forgotten_and_waited_for(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.choice((16, 60, 64, 252))
    ring, schedule = Ring(size), Schedule()
    held: dict[int, set[int]] = {}  # granules of what should still be there
    steps = {}
    for key in range(150):
        wanted, align = chance.randint(1, chance.choice((4, size // 3, size))), chance.choice((1, 1, 2, 4))
        region, users = ring.allocate(key, wanted, align=align)
        taken = {(region.start + at) % size for at in range(wanted)}
        gone = {other for other, granules in held.items() if granules & taken}
        assert {id(step) for step in users} == {id(steps[other]) for other in gone}
        held = {other: granules for other, granules in held.items() if other not in gone} | {key: taken}
        steps[key] = schedule.add(Load(granules=wanted), after=users)
        region.writers.append(steps[key])
        assert region.start % align == 0
        assert {other for other in range(key + 1) if ring.find(other) is not None} == set(held)


def test_nothing_larger_than_the_buffer_is_placed() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Ring(64).allocate("all", 65)
