from __future__ import annotations

import re

import pytest

from leptonbench.paths import data_root

CSS = (data_root() / "reports" / "assets" / "report.css").read_text(encoding="utf-8")
SCRIPT = (data_root() / "reports" / "assets" / "report.js").read_text(encoding="utf-8")
THEMES = {"light": ":root {", "dark": '[data-theme="dark"] {', "auto-dark": '[data-theme="auto"] {'}
TEXT = ("ink", "soft", "accent", "alarm", "warn", "good", "k5")
BACKS = ("paper", "faint", "tint")
SERIES = tuple(f"k{index}" for index in range(8))


def colours(theme: str) -> dict[str, str]:
    start = CSS.index(THEMES[theme])
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", CSS[start : CSS.index("}", start)]))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(letter * 2 for letter in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_legible_in_every_theme(theme: str) -> None:
    found = colours(theme)
    for text in TEXT:
        for back in BACKS:
            assert contrast(found[text], found[back]) >= 4.5, (theme, text, back)
    for text in ("ink", "alarm"):
        assert contrast(found[text], found["alarm-back"]) >= 4.5, (theme, text)


@pytest.mark.parametrize("theme", THEMES)
def test_series_stand_out_from_the_paper(theme: str) -> None:
    found = colours(theme)
    for series in SERIES:
        assert contrast(found[series], found["paper"]) >= 3, (theme, series)


def test_auto_and_dark_are_the_same_dark() -> None:
    assert colours("auto-dark") == colours("dark")


def test_style_and_script_fetch_nothing_and_stay_short() -> None:
    assert "//" not in re.sub(r"^\s*//.*$", "", SCRIPT, flags=re.MULTILINE)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|eval|import)\b *\(", SCRIPT)
    assert len(SCRIPT.splitlines()) < 300
    assert "prefers-reduced-motion" in CSS
    assert "@media print" in CSS
