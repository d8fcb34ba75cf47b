"""``spotify-dag add listenbrainz:NAME``: have a user of a service read with the next run, and from then on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from spotify_dag.console import out, print_json
from spotify_dag.lifecycle.forget import let_in_again
from spotify_dag.project import Project
from spotify_dag.sources import LISTED_SOURCES, listed_source
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.listed_users import add_listed_user
from spotify_dag.sources.listenbrainz.names import names_profile

SERVICES = [name for name in LISTED_SOURCES if name != "spotify"]


def listed_users(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Return the source and the text of every user of a service among arguments; empty where all are files.

    Raises
    ------
    SourceError
        If some are users and others are files.
    """
    users = []
    for path in paths:
        text = str(path)
        if match := re.match(rf"(?i)({'|'.join(SERVICES)}):", text):
            users.append((match[1].lower(), text))
        elif re.match(r"(?i)(https?:|listenbrainz\.org/)", text) and names_profile(text):
            users.append(("listenbrainz", text))
    if users and len(users) < len(paths):
        raise SourceError("Some of these are users of a service, others are files: add them with two commands.")
    return users


def add_listed(project: Project, users: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Put users on the list of their source, which is registered if it is not, and print who they are."""
    added = []
    for source_name, text in users:
        source_class = listed_source(source_name)
        user_id, name = source_class.parse_user(text)
        lifted = let_in_again(project, user_id)
        add_listed_user(source_class.added_to(project.settings), name)
        if not any(source.name == source_name for source in project.inbox.sources()):
            project.inbox.register_source(source_name, {})
        added.append({"user_id": user_id, "source": source_name, "was_forgotten": lifted})
    if as_json:
        print_json(added)
        return
    for user in added:
        forgotten = " They were forgotten before, and may be read again." if user["was_forgotten"] else ""
        out.print(f"{user['user_id']} is read from now on.{forgotten}")
    out.print(f"Next: spotify-dag run, then spotify-dag recommend {added[0]['user_id']}", style="dim")
