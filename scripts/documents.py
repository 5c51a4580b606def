"""The project's Markdown: are its links whole, and how does it look as a site. Knows documents, and no code of kit's.

    python scripts/documents.py                   # a line for each link or anchor that leads nowhere, then exit code 1
    python scripts/documents.py --out docs/site   # and pages of it: every linked file lies there as it lies here

`README.md` of a folder becomes its `index.html`, any other document NAME.html. Addresses of other hosts are not asked.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from jinja2 import Environment
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
API = "api/index.html"
"""Where `scripts/docs` puts the pages of the Python interface."""

PAGE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --soft: color-mix(in srgb, currentColor 18%, transparent); }
body { margin: 0 auto; max-width: 78rem; padding: 0 1.5rem 4rem; font: 1rem/1.55 system-ui, sans-serif; display: grid;
  grid-template-columns: 13rem minmax(0, 1fr); gap: 0 2.5rem; }
nav { padding-top: 1.5rem; } nav a { display: block; padding: 0.15rem 0; } nav a[aria-current] { font-weight: 600; }
img { max-width: 100%; height: auto; }
pre { overflow-x: auto; padding: 0.7rem 0.9rem; background: var(--soft); border-radius: 6px; font-size: 0.85rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; } pre code { font-size: 1em; overflow-wrap: normal; }
main table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 1rem 0.3rem 0; border-bottom: 1px solid var(--soft); }
@media (max-width: 52rem) { body { display: block; } nav { columns: 2; } }
</style>
</head>
<body>
<nav aria-label="Pages">
{% for one in pages %}<a href="{{ one.link }}"{% if one.here %} aria-current="page"{% endif %}>{{ one.title }}</a>
{% endfor %}</nav>
<main>
{{ text | safe }}
</main>
</body>
</html>
""")


@dataclass(frozen=True)
class Document:
    """One Markdown file, read."""

    path: Path
    """Below `ROOT`."""
    title: str
    tokens: list[Token]
    anchors: frozenset[str]


def documents() -> dict[Path, Document]:
    """Return every document that is for readers, by its path below the root."""
    paths = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "EXPERIMENTS.md", "CHANGELOG.md")]
    return {path.relative_to(ROOT): read(path) for path in [*paths, *sorted((ROOT / "docs").glob("*.md"))]}


@cache
def read(path: Path) -> Document:
    """Parse a file, and give its headings the anchors that GitHub gives them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    titles: list[str] = []
    anchors: set[str] = set()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            titles.append(plain(tokens[place + 1]))
            base = anchor = slug(titles[-1])
            count = 0
            while anchor in anchors:
                count += 1
                anchor = f"{base}-{count}"
            anchors.add(anchor)
            token.attrSet("id", anchor)
    return Document(path.relative_to(ROOT), titles[0] if titles else path.stem, tokens, frozenset(anchors))


def plain(inline: Token) -> str:
    """Return a heading's text without its marks."""
    return "".join(one.content for one in inline.children or () if one.type in ("text", "code_inline"))


def slug(title: str) -> str:
    """Return the anchor of a heading: lower case, blanks as hyphens, no other marks."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def references(document: Document) -> Iterator[tuple[Token, str, str]]:
    """Yield each link and picture of a document that lies here: its token, the attribute, and what that says."""
    for block in document.tokens:
        for token in block.children or ():
            name = {"link_open": "href", "image": "src"}.get(token.type)
            target = str(token.attrGet(name) or "") if name else ""
            if name and not re.match(r"[a-z][a-z0-9+.-]*:", target):
                yield token, name, target


def target_of(document: Document, reference: str) -> tuple[Path, str]:
    """Return the path below the root that a reference names, and its anchor."""
    name, _, anchor = unquote(reference).partition("#")
    path = (ROOT / document.path.parent / name).resolve() if name else ROOT / document.path
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path, anchor


def broken(found: dict[Path, Document]) -> list[str]:
    """Return a line for each reference that leads nowhere."""
    lines = []
    for document in found.values():
        for _, _, reference in references(document):
            path, anchor = target_of(document, reference)
            if path.is_absolute() or not (ROOT / path).is_file():
                lines.append(f"{document.path}: {reference} is no file of this project")
            elif anchor and (path not in found or anchor not in found[path].anchors):
                lines.append(f"{document.path}: {reference}: {path} has no heading #{anchor}")
    return lines


def page_of(path: Path) -> Path:
    """Return where the page of a document lies."""
    return path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html")


def in_order(found: dict[Path, Document]) -> list[Document]:
    """Return the documents as `docs/README.md` lists them, between the two of that name and all others."""
    first = [Path("README.md"), Path("docs/README.md")]
    listed = [target_of(found[first[1]], reference)[0] for _, _, reference in references(found[first[1]])]
    return [found[path] for path in dict.fromkeys([*first, *listed, *found]) if path in found]


def build(found: dict[Path, Document], out: Path) -> None:
    """Write a page for each document, and a copy of each other file that one of them names."""
    order = in_order(found)
    for document in order:
        page = page_of(document.path)
        up = "../" * len(page.parent.parts)
        for token, attribute, reference in references(document):
            path, anchor = target_of(document, reference)
            if path in found:
                token.attrSet(attribute, f"{up}{page_of(path).as_posix()}{'#' + anchor if anchor else ''}")
            else:
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, out / path)
        listed = [
            {"title": one.title, "link": f"{up}{page_of(one.path).as_posix()}", "here": one is document}
            for one in order
        ]
        listed.append({"title": "Python interface", "link": f"{up}{API}", "here": False})
        text = MarkdownIt("commonmark").enable("table").renderer.render(document.tokens, _OPTIONS, {})
        (out / page).parent.mkdir(parents=True, exist_ok=True)
        (out / page).write_text(PAGE.render(title=document.title, pages=listed, text=text), encoding="utf-8")


_OPTIONS = MarkdownIt("commonmark").options


def main() -> None:
    """Check the links; build the pages where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    found = documents()
    if lines := broken(found):
        sys.exit("\n".join(lines))
    if out is not None:
        build(found, out)


if __name__ == "__main__":
    main()
