"""What is said on the shop floor: commands, counts and part codes, drawn from a small grammar.

Every sentence is lower case, spelt in letters only, so that a transcript needs no normalisation before it is scored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LETTERS = words(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey xray yankee zulu"
)
ITEMS = words(
    "bolts nuts washers brackets bearings seals gaskets valves pumps motors cables sensors housings shafts boxes "
    "pallets"
)
PLACES = ("bay", "bin", "shelf", "rack", "aisle", "dock")
MACHINES = ("line", "conveyor", "press", "lathe", "mill", "robot", "cell", "oven", "crane", "station")
ROLES = ("maintenance", "quality", "the supervisor", "a forklift", "first aid", "an electrician")
DEFECTS = ("scratch", "dent", "crack", "burr", "leak", "rust", "wrong label", "missing screw")
SETTINGS = (
    ("speed", "percent"),
    ("torque", "newton metres"),
    ("temperature", "degrees"),
    ("pressure", "bar"),
    ("feed rate", "millimetres"),
)
SHORT = (
    "confirm",
    "cancel",
    "yes",
    "no",
    "next task",
    "say again",
    "task done",
    "go back",
    "emergency stop",
    "stop",
    "help",
    "all clear",
    "ready",
    "wait",
)


class Speaker:
    """Draws sentences from a random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, choices: tuple[str, ...]) -> str:
        """Return one of the choices."""
        return choices[int(self._rng.integers(len(choices)))]

    def number(self, top: int, *, least: int = 1) -> str:
        """Return a whole number from `least` to `top` in words; each order of magnitude is as likely as another."""
        return spell(int(np.exp(self._rng.uniform(np.log(least), np.log(top + 1)))))

    def digits(self, count: int) -> str:
        """Return digits said one by one."""
        return " ".join(UNITS[int(d)] for d in self._rng.integers(10, size=count))

    def code(self) -> str:
        """Return a part code: one or two letters of the radio alphabet and two to four digits, sometimes one more."""
        head = " ".join(self.pick(LETTERS) for _ in range(int(self._rng.integers(1, 3))))
        tail = f" {self.pick(LETTERS)}" if self._rng.random() < 0.25 else ""
        return f"{head} {self.digits(int(self._rng.integers(2, 5)))}{tail}"

    def place(self) -> str:
        """Return a place with its number, sometimes with a letter."""
        letter = f" {self.pick(LETTERS)}" if self._rng.random() < 0.3 else ""
        return f"{self.pick(PLACES)}{letter} {self.number(99)}"

    def machine(self) -> str:
        """Return a machine with its number."""
        return f"{self.pick(MACHINES)} {self.number(20)}"

    def value(self) -> str:
        """Return a setting's value, sometimes with a decimal."""
        decimal = f" point {self.digits(1)}" if self._rng.random() < 0.3 else ""
        return f"{self.number(400)}{decimal}"

    def sentence(self) -> str:
        """Return one sentence."""
        forms = FORMS
        shares = np.array([share for share, _ in forms])
        return forms[int(self._rng.choice(len(forms), p=shares / shares.sum()))][1](self)


def _setting(s: Speaker) -> str:
    name, unit = SETTINGS[int(s._rng.integers(len(SETTINGS)))]
    return f"set {name} to {s.value()} {unit}"


FORMS: tuple[tuple[float, Callable[[Speaker], str]], ...] = (
    (14, lambda s: f"pick {s.number(300, least=2)} {s.pick(ITEMS)} from {s.place()}"),
    (8, lambda s: f"put {s.number(300, least=2)} {s.pick(ITEMS)} in {s.place()}"),
    (6, lambda s: f"count {s.pick(ITEMS)} in {s.place()}"),
    (8, lambda s: f"counted {s.number(999, least=2)} {s.pick(ITEMS)}"),
    (6, lambda s: f"move {s.pick(ITEMS)} to {s.place()}"),
    (12, lambda s: f"{s.pick(('stop', 'start', 'pause', 'resume', 'slow down', 'reset'))} {s.machine()}"),
    (4, lambda s: f"emergency stop {s.machine()}"),
    (8, lambda s: s.pick(SHORT)),
    (6, lambda s: f"confirm {s.pick(('code', 'order', 'batch'))} {s.digits(int(s._rng.integers(3, 6)))}"),
    (12, lambda s: f"{s.pick(('part', 'tool', 'scan part'))} {s.code()}"),
    (6, lambda s: f"{s.pick(('reject', 'scrap', 'hold'))} part {s.code()} {s.pick(DEFECTS)}"),
    (4, lambda s: f"scrap {s.number(60, least=2)} {s.pick(ITEMS)}"),
    (4, lambda s: f"call {s.pick(ROLES)} to {s.machine()}"),
    (8, _setting),
)


def spell(number: int) -> str:
    """Return a whole number below 1000 in words.

    Raises:
        ValueError: If it is negative or too large.
    """
    if not 0 <= number < 1000:
        raise ValueError(f"cannot spell {number}")
    if number >= 100:
        rest = number % 100
        return f"{UNITS[number // 100]} hundred" + (f" {spell(rest)}" if rest else "")
    if number <= 12:
        return UNITS[number]
    if number < 20:
        return TEENS[number - 13]
    return TENS[number // 10 - 2] + (f" {UNITS[number % 10]}" if number % 10 else "")
