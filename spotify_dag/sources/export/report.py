"""What was read of a person's files, line by line: the same for the command and for the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 20
"""Files named one by one."""
LINES = {
    "file": "read {file}: {what}",
    "file-encoding": "read {file}: {what}, read as {encoding}",
    "not": "not read {file}: {reason}",
    "more": "and {count:,} more files read",
    "more-not": "and {count:,} more files not read",
    "left-out": "{count:,} rows left out: {reason}",
    "rejected": "{count:,} rows rejected: {reason}",
    "values-left-out": "{count:,} values left out: {reason}",
    "mended": "{count:,} names mended: their letters had been decoded wrongly",
}
"""What `details` tells, in English."""


def summary(report: Mapping[str, Any]) -> str:
    """Return a report of `reading.Reading.report` as one line: items, lists, plays."""
    plays = f", {report['plays']:,} plays" if report["plays"] else ""
    return f"{report['rows_kept']:,} items in {report['lists']:,} list{'s' * (report['lists'] != 1)}{plays}"


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the details of a report: files read, files not read, what was left out, each with its reason.

    File names and reasons are as they stand in the files: escape them where they are shown.
    """
    return [LINES[kind].format(**values) for kind, values in details(report)] + list(report["notes"])


def details(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each detail of a report but its notes: its kind, of `LINES`, and the values that belong to it."""
    for file in report["files_read"][:SHOWN]:
        told = {"file": file["file"], "what": file["what"]}
        if file["encoding"] == "utf-8":
            yield "file", told
        else:
            yield "file-encoding", told | {"encoding": file["encoding"]}
    for file in report["files_not_read"][:SHOWN]:
        yield "not", {"file": file["file"], "reason": file["reason"]}
    for name, kind in (("files_read", "more"), ("files_not_read", "more-not")):
        if (more := report[f"n_{name}"] - min(SHOWN, len(report[name]))) > 0:
            yield kind, {"count": more}
    for kind in ("left-out", "rejected", "values-left-out"):
        for reason, count in report[kind.replace("-", "_")].items():
            yield kind, {"count": count, "reason": reason}
    if report["names_mended"]:
        yield "mended", {"count": report["names_mended"]}
