"""Check how readable the documentation is: ``python -m tools.words``. Its rules are ``[tool.words]`` in pyproject.toml.

Tables, code, headings and pictures do not count. A list item or a paragraph is split into sentences by nltk.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from markdown_it import MarkdownIt
from markdown_it.token import Token
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

REPOSITORY = Path(__file__).parents[1]
SKIPPED = {"table_open": "table_close", "heading_open": "heading_close"}


@dataclass(frozen=True)
class Rules:
    """How long sentences may be, in words, and which words are not used."""

    files: list[str]
    median: float
    longest: int
    banned: list[str]
    abbreviations: list[str]

    @classmethod
    def read(cls) -> Rules:
        """Return the rules of this repository."""
        return cls(**tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["words"])


@dataclass(frozen=True)
class Sentence:
    """One sentence, and where its paragraph begins."""

    file: str
    line: int
    text: str

    @property
    def words(self) -> int:
        """Number of words: runs of signs between spaces that hold a letter or a digit."""
        return sum(any(sign.isalnum() for sign in word) for word in self.text.split())


def paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each paragraph and list item; inline code becomes one word."""
    until = None
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        until = until or SKIPPED.get(token.type)
        if token.type == until:
            until = None
        elif until is None and token.type == "inline":
            text = "".join(_text(token.children or []))
            if text.strip():
                yield (token.map or [0])[0] + 1, text


def sentences(file: str, markdown: str, abbreviations: Sequence[str] = ()) -> Iterator[Sentence]:
    """Yield the sentences of a page."""
    parameters = PunktParameters()
    parameters.abbrev_types.update(abbreviations)
    split = PunktSentenceTokenizer(parameters)
    for line, text in paragraphs(markdown):
        for sentence in split.tokenize(text):
            found = Sentence(file, line, re.sub(r"\s+", " ", sentence))
            if found.words:
                yield found


def problems(found: Sequence[Sentence], rules: Rules) -> list[str]:
    """Return what breaks the rules, one line each."""
    banned = re.compile(rf"\b(?:{'|'.join(map(re.escape, rules.banned))})\b", re.IGNORECASE)
    lines = [
        f"{one.file}:{one.line}: {one.words} words, at most {rules.longest}: {one.text}"
        for one in found
        if one.words > rules.longest
    ]
    lines += [
        f"{one.file}:{one.line}: '{match[0]}' is hard to read, say it plainly: {one.text}"
        for one in found
        for match in banned.finditer(one.text)
    ]
    middle = median(one.words for one in found)
    if middle > rules.median:
        lines.append(f"The median sentence has {middle} words, at most {rules.median} are allowed.")
    return lines


def main() -> int:
    """Print what breaks the rules; return the exit status."""
    rules = Rules.read()
    files = sorted(file for pattern in rules.files for file in REPOSITORY.glob(pattern))
    found = [
        sentence
        for file in files
        for sentence in sentences(str(file.relative_to(REPOSITORY)), file.read_text(), rules.abbreviations)
    ]
    lines = problems(found, rules)
    print("\n".join(lines) or "The words are plain.", file=sys.stderr if lines else sys.stdout)
    counts = [one.words for one in found]
    print(f"{len(files)} pages, {len(found)} sentences: median {median(counts)} words, longest {max(counts)}.")
    return bool(lines)


def _text(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "text":
            yield token.content
        elif token.type == "code_inline":
            yield "code"
        elif token.type in ("softbreak", "hardbreak"):
            yield " "


if __name__ == "__main__":
    sys.exit(main())
