"""What tokens promise, whatever the units' speeds: nothing starts before what it waits for has ended, nothing hangs."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from leptonbench.fpga import ir
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.schedule import UNITS, Memory, Ring, Schedule, Step, _Timeline
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import MAX_TOKENS, Drain, Exec, Halt, Instruction, Load, Store, Unit
from tests.fpga_tokens import replay

_MAKE: dict[Unit, type[Instruction]] = {Unit.LOAD: Load, Unit.EXEC: Exec, Unit.DRAIN: Drain, Unit.STORE: Store}
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
    numbers = {id(instruction): _number(instruction) for instruction in program[:-1]}
    ended: set[int] = set()

    def start(instruction: Instruction) -> None:
        own = waits[numbers[id(instruction)]]
        assert all(_number(step.instruction) in ended for step in own)

    def end(instruction: Instruction) -> None:
        ended.add(numbers[id(instruction)])

    left = replay(program, lambda _: draw.choice([0, 1, 50]), start=start, end=end, draw=draw)
    assert not left, "a token was given and never taken"


@settings(max_examples=12)
@given(SEEDS, st.sampled_from(UNITS))
def test_no_unit_runs_ahead_of_what_counters_hold(seed, slow):
    """Hundreds of tiny tiles, with one unit so slow that the others do all that they may before it goes on."""
    random_ = np.random.default_rng(seed)
    batch = 200
    tensors = {
        name: ir.Tensor(name=name, shape=(batch, *shape), dtype="uint8", scale=1.0)
        for name, shape in (("a", (2, 4)), ("b", (4, 9)), ("y", (2, 9)))
    }
    layer = ir.ActivationProduct(name="product", a="a", b="b", y="y", scale=np.float32(random_.uniform()))
    network = ir.Network(tensors=tensors, steps=(layer,), inputs=("a", "b"), outputs=("y",))
    (program,) = compile_network(network, CoreShape()).programs
    assert len(program.instructions) > 4 * 2 * MAX_TOKENS
    replay(program.instructions, lambda unit: 40 if unit is slow else 0, draw=random.Random(seed))


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
