"""Hold the app against its own description with schemathesis, from outside."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


SAFE = "not_a_server_error"
STREAMS = "heartbeat|queue/data"
"""Paths of answers that go on for as long as a page is open."""


def contract(url: str, cases: int, folder: Path) -> dict[str, Any]:
    """Make up so many requests per operation; return how many there were, and how many were answered wrongly.

    The routes of the API are held against their description, those of Gradio's pages only against server errors.
    """
    schema = folder / "pages.json"
    schema.write_text(json.dumps(pages_schema()))
    api = _run([f"{url}/api/v1/openapi.json", "--checks", CHECKS], cases, folder)
    pages = _run([str(schema), "--url", url, "--checks", SAFE, "--exclude-path-regex", STREAMS], cases, folder)
    return {
        "cases": api["cases"] + pages["cases"],
        "cases_of_pages": pages["cases"],
        "failures": api["failures"] + pages["failures"],
        "said": api["said"] + pages["said"],
    }


def pages_schema() -> dict[str, Any]:
    """Return a description of the routes that Gradio adds to every app."""
    from fastapi.openapi.utils import get_openapi

    from spotify_dag.app.asgi import offline

    offline()
    import gradio as gr

    routes = gr.routes.App.create_app(gr.Blocks(analytics_enabled=False)).routes
    schema = get_openapi(title="pages", version="1", routes=routes)
    # Two functions of Gradio do not name a part of their path, so the description lacks it.
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            described = operation.setdefault("parameters", [])
            missing = set(re.findall(r"{(\w+)}", path)) - {part["name"] for part in described if part["in"] == "path"}
            described += [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in sorted(missing)
            ]
    return schema


def _run(arguments: list[str], cases: int, folder: Path) -> dict[str, Any]:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    done = subprocess.run(
        [
            command, "run", *arguments, "--max-examples", str(cases), "--seed", "1",
            "--phases", "examples,coverage,fuzzing", "--report-json-path", str(report),
            "--request-timeout", "30", "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    if not report.is_file():
        raise RuntimeError(done.stdout + done.stderr)
    counts = json.loads(report.read_text())["test_cases"]
    wrong = counts["with_failures"] + counts["errored"]
    return {"cases": counts["generated"], "failures": wrong, "said": done.stdout}
