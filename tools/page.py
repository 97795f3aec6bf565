# SPDX-License-Identifier: MIT
"""What the pages of `make map` and `make trace` have in common: one HTML file each, which needs no
network, in light and dark."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from html import escape

HERE = pathlib.Path(__file__).parent

# The colours of surfaces and texts, in the light and in the dark.
SURFACES = {
    "page": ("#f4f5f8", "#101318"),
    "card": ("#ffffff", "#181c23"),
    "ink": ("#1b2230", "#e8ecf3"),
    "faint": ("#5d687b", "#98a4b8"),
    "line": ("#d9dee7", "#2e3542"),
    "hover": ("#edf0f5", "#252b36"),
    "accent": ("#2257c4", "#4d83ee"),
}

# The keys that each page has; those of its own come first.
KEYS = (("t", "light or dark"), ("?", "this list"))


def variables(pairs: Mapping[str, tuple[str, str]]) -> str:
    """The colours as variables of CSS: in the light, in the dark, and as the reader chooses."""
    light, dark = (
        "".join(f"--{name}:{pair[i]};" for name, pair in pairs.items()) for i in range(2)
    )
    return (
        f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f":root[data-theme=light]{{{light}color-scheme:light}}"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}\n"
    )


def read(*names: str) -> str:
    return "".join((HERE / name).read_text() for name in names)


def keys_table(keys: Iterable[tuple[str, str]]) -> str:
    return "".join(
        "<tr><td>" + " ".join(f"<kbd>{escape(k)}</kbd>" for k in names.split(" "))
        + f"</td><td>{escape(what)}</td></tr>"
        for names, what in (*keys, *KEYS)
    )  # fmt: skip


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Replaces `<!-- NAME -->` by each part. Texts of guests are in parts, and no `<` of theirs may
    begin a tag, a comment, or a part that is replaced later: escape() them."""
    for name, value in parts.items():
        text = text.replace(f"<!-- {name} -->", value, 1)
    return text


def page(body: str, data: object, keys: Iterable[tuple[str, str]], parts: Mapping[str, str]) -> str:
    """The whole page. `parts` has the others of page.html, and those of `body`."""
    known = {
        "KEYS": keys_table(keys),
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": parts["SCRIPT"],
    }
    return fill(read("page.html"), {"BODY": body} | dict(parts) | known)
