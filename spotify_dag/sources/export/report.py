"""What was read of a person's files, line by line: the same for the command and for the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = 20
"""Files named one by one."""
COUNTED = (
    ("left_out", "rows left out"),
    ("rejected", "rows rejected"),
    ("values_left_out", "values left out"),
)


def summary(report: Mapping[str, Any]) -> str:
    """Return a report of `reading.Reading.report` as one line: items, lists, plays."""
    plays = f", {report['plays']:,} plays" if report["plays"] else ""
    return f"{report['rows_kept']:,} items in {report['lists']:,} list{'s' * (report['lists'] != 1)}{plays}"


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the details of a report: files read, files not read, what was left out, each with its reason.

    File names and reasons are as they stand in the files: escape them where they are shown.
    """
    shown = []
    for file in report["files_read"][:SHOWN]:
        encoding = "" if file["encoding"] == "utf-8" else f", read as {file['encoding']}"
        shown.append(f"read {file['file']}: {file['what']}{encoding}")
    shown += [f"not read {file['file']}: {file['reason']}" for file in report["files_not_read"][:SHOWN]]
    for name, what in (("files_read", "read"), ("files_not_read", "not read")):
        if (more := report[f"n_{name}"] - min(SHOWN, len(report[name]))) > 0:
            shown.append(f"and {more:,} more files {what}")
    for name, what in COUNTED:
        shown += [f"{count:,} {what}: {reason}" for reason, count in report[name].items()]
    if report["names_mended"]:
        shown.append(f"{report['names_mended']:,} names mended: their letters had been decoded wrongly")
    return shown + list(report["notes"])
