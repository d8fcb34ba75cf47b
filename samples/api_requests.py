"""Hold the app against its own description with schemathesis, from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def contract(url: str, cases: int, folder: Path) -> dict[str, Any]:
    """Make up so many requests per operation; return how many there were, and how many were answered wrongly."""
    report = folder / "report.json"
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    done = subprocess.run(
        [
            command, "run", f"{url}/api/v1/openapi.json", "--max-examples", str(cases), "--checks", CHECKS,
            "--seed", "1", "--phases", "examples,coverage,fuzzing", "--report-json-path", str(report),
            "--request-timeout", "30", "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    if not report.is_file():
        raise RuntimeError(done.stdout + done.stderr)
    counts = json.loads(report.read_text())["test_cases"]
    wrong = counts["with_failures"] + counts["errored"]
    return {"cases": counts["generated"], "failures": wrong, "said": done.stdout}
