"""Check how readable pages, docstrings and comments are: ``python -m tools.words``.

Its rules are ``[tool.words]`` in pyproject.toml.

In pages, tables, code, headings and pictures do not count. A list item or a paragraph is split into sentences by nltk.
In Python files only words are looked at, and the names of variables.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from markdown_it import MarkdownIt
from markdown_it.token import Token

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
    python: list[str]
    """Files in which no docstring or comment has a banned word."""
    product: list[str]
    """Files in which no variable or parameter has a banned name."""
    banned_names: list[str]

    @property
    def banned_words(self) -> re.Pattern[str]:
        """What finds a banned word."""
        return re.compile(rf"\b(?:{'|'.join(map(re.escape, self.banned))})\b", re.IGNORECASE)

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
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types.update(abbreviations)
    split = PunktSentenceTokenizer(parameters)
    for line, text in paragraphs(markdown):
        for sentence in split.tokenize(text):
            plain = Sentence(file, line, re.sub(r"\s+", " ", sentence))
            if plain.words:
                yield plain


def problems(text: Sequence[Sentence], rules: Rules) -> list[str]:
    """Return what breaks the rules, one line each."""
    lines = [
        f"{sentence.file}:{sentence.line}: {sentence.words} words, at most {rules.longest}: {sentence.text}"
        for sentence in text
        if sentence.words > rules.longest
    ]
    lines += [
        f"{sentence.file}:{sentence.line}: '{match[0]}' is hard to read, say it plainly: {sentence.text}"
        for sentence in text
        for match in rules.banned_words.finditer(sentence.text)
    ]
    middle = median(sentence.words for sentence in text)
    if middle > rules.median:
        lines.append(f"The median sentence has {middle} words, at most {rules.median} are allowed.")
    return lines


def hard_words(file: Path, rules: Rules) -> list[str]:
    """Return the banned words in the comments and docstrings of a Python file, one line each."""
    lines = []
    with tokenize.open(file) as source:
        for token in tokenize.generate_tokens(source.readline):
            prose = token.type == tokenize.COMMENT or token.string.startswith(('"""', 'r"""'))
            if prose and (match := rules.banned_words.search(token.string)):
                lines.append(f"{_place(file, token.start[0])}: '{match[0]}' is hard to read, say it plainly.")
    return lines


def vague_names(file: Path, rules: Rules) -> list[str]:
    """Return the variables and parameters of functions whose names do not say what is inside, one line each."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    tree = ast.parse(file.read_text())
    inside = {node for function in ast.walk(tree) if isinstance(function, functions) for node in ast.walk(function)}
    named = [
        (node.lineno, node.id) for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    named += [(node.lineno, node.arg) for node in inside if isinstance(node, ast.arg)]
    return [
        f"{_place(file, line)}: '{name}' does not say what is inside."
        for line, name in sorted(named)
        if name in rules.banned_names
    ]


def main() -> int:
    """Print what breaks the rules; return the exit status."""
    rules = Rules.read()
    files = _files(rules.files)
    text = [
        sentence
        for file in files
        for sentence in sentences(str(file.relative_to(REPOSITORY)), file.read_text(), rules.abbreviations)
    ]
    lines = problems(text, rules)
    lines += [line for file in _files(rules.python) for line in hard_words(file, rules)]
    lines += [line for file in _files(rules.product) for line in vague_names(file, rules)]
    print("\n".join(lines) or "The words are plain.", file=sys.stderr if lines else sys.stdout)
    counts = [sentence.words for sentence in text]
    print(f"{len(files)} pages, {len(text)} sentences: median {median(counts)} words, longest {max(counts)}.")
    return bool(lines)


def _files(patterns: Sequence[str]) -> list[Path]:
    return sorted(file for pattern in patterns for file in REPOSITORY.glob(pattern))


def _place(file: Path, line: int) -> str:
    return f"{os.path.relpath(file, REPOSITORY)}:{line}"


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
