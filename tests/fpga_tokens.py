"""Programs replayed for their tokens alone: units of any speed, in-order queues, counters that hold so much."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence

from leptonbench.fpga.compiler.schedule import UNITS
from leptonbench.fpga.isa import MAX_TOKENS, Drain, Exec, Instruction, Load, Store, Unit

_UNIT_OF = {Load: Unit.LOAD, Exec: Unit.EXEC, Drain: Unit.DRAIN, Store: Unit.STORE}
_QUEUE = 8  # instructions that wait in a unit's queue; fetch stops when one is full


def _nothing(_: Instruction) -> None:
    pass


def replay(
    program: Sequence[Instruction],
    duration: Callable[[Unit], int],
    *,
    start: Callable[[Instruction], None] = _nothing,
    end: Callable[[Instruction], None] = _nothing,
    draw: random.Random,
) -> Counter[tuple[Unit, Unit]]:
    """Run a program that ends in a Halt, and return the tokens that nobody took.

    Args:
        program: With its tokens.
        duration: Steps that the next instruction of a unit takes.
        start: Told each instruction when it starts.
        end: Told each instruction when it has ended.
        draw: Decides which unit moves first in each step.
    """
    todo = deque(program[:-1])
    queues: dict[Unit, deque[Instruction]] = {unit: deque() for unit in UNITS}
    running: dict[Unit, tuple[Instruction, int]] = {}
    tokens: Counter[tuple[Unit, Unit]] = Counter()
    while todo or running or any(queues.values()):
        moved = False
        while todo and len(queues[_UNIT_OF[type(todo[0])]]) < _QUEUE:
            queues[_UNIT_OF[type(todo[0])]].append(todo.popleft())
            moved = True
        for unit in draw.sample(UNITS, len(UNITS)):
            if unit in running:
                moved = True
                instruction, left = running.pop(unit)
                if left:
                    running[unit] = (instruction, left - 1)
                    continue
                end(instruction)
                for other in UNITS:
                    tokens[unit, other] += bool(instruction.give & other)
                    assert tokens[unit, other] <= MAX_TOKENS, f"{unit.name} is too far ahead of {other.name}"
            elif queues[unit] and all(tokens[other, unit] for other in UNITS if queues[unit][0].take & other):
                moved = True
                instruction = queues[unit].popleft()
                for other in UNITS:
                    tokens[other, unit] -= bool(instruction.take & other)
                start(instruction)
                running[unit] = (instruction, duration(unit))
        assert moved, "no unit can go on"
    return +tokens
