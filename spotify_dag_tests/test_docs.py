"""The documentation speaks of what there is: links, paths, names, settings, tables, commands, assets, routes."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from spotify_dag.app.asgi import create_app
from spotify_dag.definitions import build_definitions
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from tools.reference import FOLDER, stale_pages
from tools.words import Rules, hard_words, problems, sentences, vague_names

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
ROOTS = (REPOSITORY, REPOSITORY / "spotify_dag", REPOSITORY / "spotify_dag" / "app")
"""What a path in a page may be relative to."""
CODE_PATH = re.compile(r"^(?P<path>[\w./-]+/|[\w./-]*\w\.(?:py|yaml|toml|csv))(?:::(?P<name>[\w.]+))?$")
IN_A_DATA_ROOT = (
    "models/", "vectors/", "lake/", "inbox/", "spotify/", "dagster/", "forgotten/", "evaluation/", "up/", "new/",
    "index/", "content/", "rejected/", "dagster.yaml",
)  # fmt: skip
"""Beginnings of paths under a data root, which the repository does not have."""


def inline_code(page: Path) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or []:
            if child.type == "code_inline":
                yield child.content


def links(page: Path) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str) and not target.startswith(("http://", "https://", "mailto:")):
                yield target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def exists(path: str) -> Path | None:
    return next((root / path for root in ROOTS if (root / path).exists()), None)


def defined_names(module: Path) -> set[str]:
    """Names of a module: of functions, classes and constants, and of methods as ``Class.method``."""
    names: set[str] = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            functions = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{function.name}" for function in functions}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
@pytest.mark.medium
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_modules_and_names_exist(page: Path) -> None:
    missing = []
    for code in inline_code(page):
        match = CODE_PATH.match(code)
        if match is None or match["path"].startswith("/"):
            continue
        if not match["path"].endswith(".py") and match["path"].startswith(IN_A_DATA_ROOT):
            continue
        path = exists(match["path"])
        if path is None or (match["name"] and match["name"] not in defined_names(path)):
            missing.append(code)
    assert missing == []


def test_the_path_check_finds_what_is_missing() -> None:
    assert CODE_PATH.match("resources/vectors.py") is not None
    assert exists("resources/vectors.py") is None
    assert exists("stores/user_index.py") == REPOSITORY / "spotify_dag" / "stores" / "user_index.py"
    assert {"UserIndex", "UserIndex.publish"} <= defined_names(REPOSITORY / "spotify_dag" / "stores" / "user_index.py")


def test_imports_in_python_examples_work() -> None:
    examples = [
        token.content
        for page in PAGES
        for token in MarkdownIt("commonmark").parse(page.read_text())
        if token.type == "fence" and token.info == "python"
    ]
    imported = [node for text in examples for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imported if (node.module or "").startswith("spotify_dag")]
    assert len(ours) >= 4
    for node in ours:
        module = importlib.import_module(str(node.module))
        assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_the_example_of_a_source_yields_its_rows(tmp_path: Path) -> None:
    page = MarkdownIt("commonmark").parse((REPOSITORY / "docs" / "how-to" / "extend.md").read_text())
    (example,) = [token.content for token in page if token.type == "fence" and token.info == "python"]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "extend.md", "exec", dont_inherit=True), names)
    file = tmp_path / "diary.csv"
    file.write_text("user,artist,plays\nann,Nina Simone,3\nann,,2\nben,Can,1\n")
    (batch,) = names["DiarySource"](file).batches()
    rows = batch.records.select("user_id", "artist_name", "plays", "position").rows()
    assert rows == [("diary-ann", "Nina Simone", 3, 0), ("diary-ben", "Can", 1, 0)]
    assert batch.rejects.select("row", "field", "reason").rows() == [(3, "artist_name", "no artist name")]


def test_benches_named_in_the_pages_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"python -m bench (\w+)", page.read_text())}
    assert "findable" in named
    assert [name for name in sorted(named) if not (REPOSITORY / "bench" / f"{name}.py").is_file()] == []


def test_generated_pages_are_as_the_code_has_them() -> None:
    assert stale_pages() == [], "run: make reference"


def test_every_setting_is_listed() -> None:
    page = (FOLDER / "settings.md").read_text()
    variables = [
        field.validation_alias or f"SPOTIFY_DAG_{name.upper()}" for name, field in Settings.model_fields.items()
    ]
    assert [variable for variable in variables if f"| `{variable}` |" not in page] == []


def test_every_asset_check_sensor_and_schedule_is_listed(tmp_path: Path) -> None:
    definitions = build_definitions(settings=Settings(data=tmp_path))
    repository = definitions.get_repository_def()
    names = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    names |= {key.name for key in repository.asset_graph.asset_check_keys}
    names |= {sensor.name for sensor in repository.sensor_defs}
    names |= {schedule.name for schedule in repository.schedule_defs}
    listed = set(inline_code(FOLDER / "graph.md"))
    assert {"user_index", "rows_conform", "arrivals"} <= names
    # Dagster names the schedule of a job after it.
    assert sorted(name for name in names if name.removesuffix("_schedule") not in listed) == []


def test_every_route_of_the_api_is_listed(tmp_path: Path) -> None:
    paths = create_app(Project.open(Settings(data=tmp_path)), pages=False).openapi()["paths"]
    page = (FOLDER / "api.md").read_text()
    assert len(paths) > 10
    assert [path for path in paths if f" {path.removeprefix('/api/v1')}" not in page] == []


RULES = Rules(
    files=[], median=7, longest=30, banned=["whoever", "whom"], abbreviations=["e.g"], python=[], product=[],
    banned_names=["found"],
)  # fmt: skip


def test_hard_words_and_vague_names_are_found_in_python_files(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        '"""Whoever reads this."""\n\nwhom = "whom"  # for whom\n\n\ndef f(found):\n    return found.found\n'
    )
    assert [line.split(":")[1] for line in hard_words(file, RULES)] == ["1", "3"]
    assert [line.split(":")[1] for line in vague_names(file, RULES)] == ["6"]


def test_long_and_hard_sentences_are_found() -> None:
    page = "# A heading of a great many words that does not count\n\n| a | b |\n|---|---|\n| whoever | whom |\n\n"
    page += (
        "Short one. "
        + "word " * 31
        + "end.\n\n```\n"
        + "code " * 50
        + "\n```\n\nWhoever reads 0.5 of it, e.g. this, waits.\n"
    )
    found = list(sentences("page.md", page, ["e.g"]))
    assert [sentence.words for sentence in found] == [2, 32, 8]
    assert [sentence.line for sentence in found] == [7, 7, 13]
    first, second, third = problems(found, RULES)
    assert first.startswith("page.md:7: 32 words, at most 30: word")
    assert second.startswith("page.md:13: 'Whoever' is hard to read")
    assert third == "The median sentence has 8 words, at most 7 are allowed."
