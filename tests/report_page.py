"""Read a report back: a small tree of its HTML, and what the page embeds."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "link", "input", "img", "hr"}
# End tags that HTML lets out: opening one of these closes the others that are open.
CLOSES = {
    "tr": {"tr", "td", "th"},
    "td": {"td", "th"},
    "th": {"td", "th"},
    "tbody": {"tr", "td", "th", "thead"},
    "dd": {"dt", "dd"},
    "dt": {"dt", "dd"},
    "div": {"dd", "dt"},
}


@dataclass
class Node:
    """One element."""

    tag: str
    attributes: dict[str, str | None]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """Yield this element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find(self, tag: str, **attributes: str) -> list[Node]:
        """Return all elements of a tag with these attributes (`class_` matches one class)."""
        found = []
        for node in self.walk():
            wanted = all(
                value in (node.attributes.get("class") or "").split()
                if name == "class_"
                else node.attributes.get(name.replace("_", "-")) == value
                for name, value in attributes.items()
            )
            if node.tag == tag and wanted:
                found.append(node)
        return found

    def text(self) -> str:
        """Return all text below."""
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def numbers(self) -> list[float]:
        """Return the machine-readable numbers below, in order."""
        return [float(node.attributes["value"] or "nan") for node in self.find("data")]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("#root", {})
        self._at = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self._at.tag in CLOSES.get(tag, set()) and self._at.parent is not None:
            self._at = self._at.parent
        node = Node(tag, dict(attrs), self._at)
        self._at.children.append(node)
        if tag not in VOID:
            self._at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._at.children.append(Node(tag, dict(attrs), self._at))

    def handle_endtag(self, tag: str) -> None:
        node: Node | None = self._at
        while node is not None and node.tag != tag:
            node = node.parent
        if node is not None and node.parent is not None:
            self._at = node.parent

    def handle_data(self, data: str) -> None:
        self._at.children.append(data)


def parse(html: str) -> Node:
    """Return the tree of a page or a part of one."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def unpack(text: str) -> str:
    """Return what a packed block of the page holds."""
    return gzip.decompress(base64.b64decode(text)).decode()


def block(html: str, block_id: str) -> str | None:
    """Return the text of an embedded data block, unpacked."""
    found = re.search(rf'<script type="([^"]+)" id="{block_id}"[^>]*>(.*?)</script>', html, re.DOTALL)
    if found is None:
        return None
    return unpack(found[2]) if found[1] == "application/gzip" else found[2]


def embedded(html: str) -> dict[str, Any]:
    """Return the embedded manifest and records."""
    document: dict[str, Any] = json.loads(block(html, "records") or "null")
    return document


def details(html: str) -> Node:
    """Return the tree of all cells' details, packed or not."""
    packed = re.search(r'data-packed="([^"]*)"', html)
    return parse(unpack(packed[1])) if packed else parse(html)
