"""What tokens promise, whatever the units' speeds: nothing starts before what it waits for has ended, nothing hangs."""

from __future__ import annotations

import random
from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from leptonbench.fpga.compiler.schedule import UNITS, Memory, Ring, Schedule, Step, _Timeline
from leptonbench.fpga.isa import MAX_TOKENS, Drain, Exec, Halt, Instruction, Load, Store, Unit

_MAKE: dict[Unit, type[Instruction]] = {Unit.LOAD: Load, Unit.EXEC: Exec, Unit.DRAIN: Drain, Unit.STORE: Store}
_QUEUE = 8  # instructions that wait in a unit's queue; fetch stops when one is full
SEEDS = st.integers(0, 2**32 - 1)


def _schedule(draw: random.Random, count: int) -> tuple[Schedule, dict[int, list[Step]]]:
    """Return a schedule of any dependencies, and what each step was told to wait for."""
    schedule = Schedule(Memory())
    waits: dict[int, list[Step]] = {}
    for number in range(count):
        unit = draw.choice(UNITS)
        after = draw.sample(schedule.steps, min(len(schedule.steps), draw.randint(0, 3)))
        bytes_moved = draw.randint(1, 4000) if unit in (Unit.LOAD, Unit.STORE) else 0
        # The number tells instructions apart: each kind has a field of 16 bits that the schedule does not touch.
        name = {Unit.EXEC: "acc", Unit.DRAIN: "acc", Unit.LOAD: "dst", Unit.STORE: "src"}[unit]
        schedule.add(_MAKE[unit](**{name: number}), after=after, cycles=draw.randint(1, 300), dram_bytes=bytes_moved)
        waits[number] = after
    return schedule, waits


def _number(instruction: Instruction) -> int:
    return int(getattr(instruction, {Load: "dst", Store: "src"}.get(type(instruction), "acc")))


@given(SEEDS, st.integers(1, 80))
def test_tokens_keep_every_order_at_any_speed(seed, count):
    draw = random.Random(seed)
    schedule, waits = _schedule(draw, count)
    program = schedule.program()
    assert isinstance(program[-1], Halt)
    todo = deque(program[:-1])
    queues: dict[Unit, deque[Instruction]] = {unit: deque() for unit in UNITS}
    running: dict[Unit, tuple[Instruction, int]] = {}
    tokens: Counter[tuple[Unit, Unit]] = Counter()
    ended: set[int] = set()
    unit_of = {kind: unit for unit, kind in _MAKE.items()}
    idle = 0
    while todo or running or any(queues.values()):
        idle += 1
        while todo and len(queues[unit_of[type(todo[0])]]) < _QUEUE:
            queues[unit_of[type(todo[0])]].append(todo.popleft())
            idle = 0
        for unit in draw.sample(UNITS, len(UNITS)):
            if unit in running:
                instruction, left = running.pop(unit)
                idle = 0
                if left:
                    running[unit] = (instruction, left - 1)
                    continue
                ended.add(_number(instruction))
                for other in UNITS:
                    tokens[unit, other] += bool(instruction.give & other)
                    assert tokens[unit, other] <= MAX_TOKENS
            elif queues[unit] and all(tokens[other, unit] > 0 for other in UNITS if queues[unit][0].take & other):
                instruction = queues[unit].popleft()
                for other in UNITS:
                    tokens[other, unit] -= bool(instruction.take & other)
                own = waits[_number(instruction)]
                assert all(_number(step.instruction) in ended for step in own)
                running[unit] = (instruction, draw.choice([0, 1, 50]))
                idle = 0
        assert idle < 2, "no unit can go on"
    assert not +tokens, "a token was given and never taken"


@given(SEEDS)
def test_the_drams_time_is_given_once_and_as_early_as_it_is_free(seed):
    draw = random.Random(seed)
    timeline, busy = _Timeline(), [False] * 4000
    for _ in range(40):
        ready, length = draw.randint(0, 600), draw.randint(1, 30)
        at, left = ready, length
        while left:
            if not busy[at]:
                busy[at] = True
                left -= 1
            at += 1
        assert timeline.reserve(ready, length) == at


@given(SEEDS, st.integers(8, 64))
def test_a_ring_gives_nothing_away_that_is_in_use_unsaid(seed, size):
    draw = random.Random(seed)
    schedule, ring = Schedule(Memory()), Ring(size)
    holders: dict[int, Step] = {}  # granule -> last instruction that used it
    waited: set[int] = (
        set()
    )  # by one LOAD or another; they run in order, so that what one has waited for, all later have
    for key in range(30):
        found = ring.find(draw.randint(0, key)) if key else None
        if found is not None:
            step = schedule.add(Exec(), after=())
            found.readers.append(step)
            holders |= {(found.start + i) % size: step for i in range(found.size)}
        region, after = ring.allocate(key, draw.randint(1, size), align=draw.choice([1, 2]))
        waited |= {id(step) for step in after}
        used = {id(holders[at]) for i in range(region.size) if (at := (region.start + i) % size) in holders}
        assert used <= waited
        step = schedule.add(Load(), after=after, dram_bytes=16)
        region.writers.append(step)
        holders |= {(region.start + i) % size: step for i in range(region.size)}
