"""Messages in the reader's language: two YAML catalogues with the same keys, `reports/locale/{en,zh}.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from leptonbench.errors import StorageError, UsageError
from leptonbench.paths import data_root
from leptonbench.schema import METRICS
from leptonbench.schema.demand import Text

LANGUAGES = ("en", "zh")
HTML_LANG = {"en": "en", "zh": "zh-Hans"}


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


@cache
def load_messages(lang: str, page: str = "") -> dict[str, str]:
    """Return one catalogue as flat `section.key` messages: the report's, or another page's own.

    Raises:
        UsageError: If there is no such language.
        StorageError: If its catalogue cannot be read.
    """
    if lang not in LANGUAGES:
        raise UsageError(f"no report in language `{lang}`", hint=f"available: {', '.join(LANGUAGES)}")
    path: Path = data_root() / "reports" / "locale" / page / f"{lang}.yaml"
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StorageError(f"cannot read the messages for `{lang}`", cause=f"{path}: {error}") from error
    return _flatten(tree)


class Translator:
    """Look up messages of one language; values put into them are escaped unless they are markup already."""

    def __init__(self, lang: str, messages: dict[str, str] | None = None) -> None:
        self.lang = lang
        self._messages = load_messages(lang) if messages is None else messages
        self._fixed: dict[str, Markup] = {}  # messages without placeholders, of which a page says some many times

    def __call__(self, key: str, **values: object) -> Markup:
        """Return the message `key` with `values` filled in.

        Raises:
            KeyError: If the catalogue lacks the key or a value is missing: a defect, caught by tests.
        """
        if values:
            return Markup(self._messages[key]).format(**values)
        if key not in self._fixed:
            self._fixed[key] = Markup(self._messages[key]).format()
        return self._fixed[key]

    def has(self, key: str) -> bool:
        """Tell whether the catalogue knows the key."""
        return key in self._messages

    def count(self, key: str, n: int, **values: object) -> Markup:
        """Return the message for `n` things: `key.one` for one, `key.many` otherwise."""
        return self(f"{key}.one" if n == 1 else f"{key}.many", n=n, **values)

    def join(self, parts: list[Markup]) -> Markup:
        """Return an enumeration: `a, b and c`, or `a、b和c`."""
        if len(parts) < 2:
            return Markup("").join(parts)
        return self("list.last", first=self("list.between").join(parts[:-1]), last=parts[-1])

    def text(self, texts: Text) -> str:
        """Return a suite's or workload's own text in this language, else in English, else in any."""
        return texts.get("zh" if self.lang == "zh" else "en") or next(iter(texts.values()), "")

    def metric(self, tag: str) -> str:
        """Return a metric's title; the tag itself for one that is not declared."""
        if tag not in METRICS:
            return tag
        return METRICS[tag].title_zh if self.lang == "zh" else METRICS[tag].title_en

    def formula(self, tag: str) -> str:
        """Return a metric's definition: the declaration's own in English, the catalogue's in other languages."""
        return str(self(f"formula.{tag}")) if self.has(f"formula.{tag}") else METRICS[tag].formula
