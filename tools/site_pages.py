"""Pages of the site that stand outside ``docs/``: a hook of MkDocs.

`CONTRIBUTING.md` and `CHANGELOG.md` lie where people look for them in a repository. Their links are relative to the
repository, those of other pages to them lead out of ``docs/``. Links to code become plain text: the site has no code.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside ``docs/``."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links that hold inside the site."""
    here = PurePosixPath(page.file.src_uri)

    def mended(link: re.Match[str]) -> str:
        text, target = link.groups()
        if here.name in OUTSIDE:
            target = target.removeprefix("docs/")
        elif target.removeprefix("../" * len(here.parts)) in OUTSIDE:
            target = target.removeprefix("../")
        path = target.partition("#")[0]
        if "://" in target or not path or path.endswith((".md", ".png")):
            return f"[{text}]({target})"
        return text

    return _LINK.sub(mended, markdown)
