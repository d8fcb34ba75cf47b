"""Which reader a file is for: known by what is in it, whatever it is called."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass

from spotify_dag.sources.artists import Joined
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.export.archive import UNREADABLE, Member
from spotify_dag.sources.export.texts import M3U_HEAD, is_text
from spotify_dag.sources.packed import ZIP, why_unreadable
from spotify_dag.sources.tables import heading_text, open_tracks

HEAD_BYTES, STEP_BYTES = 1 << 16, 1 << 10
"""Looked at to tell what a file is; read at a time, so that little is lost before a damaged place."""
LONGEST_NAME = 255
"""Characters of a name that are looked at, from its end. In an archive a name may have 65,535."""
USERDATA = re.compile(r"(?:.*[ _-])?userdata\b.*\.json|user\.json", re.IGNORECASE)
"""The file that names the owner of the account."""
PRIVATE = re.compile(
    r"(?:.*[ _-])?(?:payments?|identity|identifiers?|searchqueries|inferences|follow|familyplan|duonewfamily|carthing|"
    r"marquee|messagedata|soundcapsule|yoursoundcapsule|wrapped\d*|technicallog.*|voiceinput|devices?|addresses|"
    r"pinned_recording|feedback)\b.*\.jsonl?",
    re.IGNORECASE,
)
"""Files of services that hold no listening, and much that is private: they are not opened."""
NO_MUSIC = re.compile(r"(?:.*[ _-])?streaming_?history_(podcast|audiobook).*", re.IGNORECASE)
_JSON: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("no music", re.compile(r'"(?:podcastName|audiobookName)"')),
    ("data set", re.compile(r'"pid"\s*:\s*"?\d')),
    ("listens", re.compile(r'"track_metadata"')),
    ("scrobbles", re.compile(r'"(?:timeMs|scrobbles|recenttracks|#text)"')),
    ("watched", re.compile(r'"titleUrl"|"header"\s*:\s*"YouTube')),
    ("plays", re.compile(r'"(?:ms_?played|master_metadata_track_name)"', re.IGNORECASE)),
    ("jspf", re.compile(r'"creator"')),
    ("apple library", re.compile(r'"Track Identifier"|"Sort Artist"')),
    ("playlists", re.compile(r'"(?:playlists|lastModifiedDate|trackName)"')),
    ("library", re.compile(r'"(?:tracks|albums|artists|bannedTracks)"\s*:\s*\[|"artist"\s*:')),
)
"""What the beginning of a JSON file holds, the most particular first."""
_ACCOUNT = re.compile(r'"user_?name"\s*:\s*"((?:[^"\\]|\\.){1,200})"', re.IGNORECASE)
NO_LISTENING = "no listening in it"
SPOKEN = "podcasts and audiobooks are not music"
TELLS_NOTHING = "about the account, not the listening"
DATA_SET = "playlists of many people. Read them with: spotify-dag run --source mpd --path FOLDER"
NOT_READ = {"no music": SPOKEN, "data set": DATA_SET}
"""Why files are not read that are known by their content."""


@dataclass(frozen=True)
class Kind:
    """What a file is."""

    reader: str = ""
    """Which reader reads it; none for a file that is not read."""
    why_not: str = ""
    """Why it is not read."""
    service: str = ""
    """Where its plays come from."""
    account: str = ""
    """The owner of the account, where the file names one: compared, and not kept."""
    names_may_be_joined: bool = False
    """Whether a comma and a space may stand in a name, and between names: other files may tell."""


_NOTHING = Kind(why_not=NO_LISTENING)


def kind_of(member: Member) -> Kind:
    """Return what a file is, from its first `HEAD_BYTES`."""
    name = member.name[-LONGEST_NAME:]
    if PRIVATE.fullmatch(name):
        return Kind(why_not=TELLS_NOTHING)
    if NO_MUSIC.fullmatch(name):
        return Kind(why_not=SPOKEN)
    head = b""
    try:
        with member.open() as stream:
            while len(head) < HEAD_BYTES and (block := stream.read(STEP_BYTES)):
                head += block
    except UNREADABLE as error:
        if not head:  # Else what comes before the damage is read.
            return Kind(why_not=f"cannot be read: {error}. Export it again")
    return _by_head(name, head)


def _by_head(name: str, head: bytes) -> Kind:
    if head.startswith(ZIP):
        return Kind(why_not="an archive in what was handed in; hand it in on its own")
    if why := why_unreadable(name, head):
        return Kind(why_not=why.removesuffix("."))
    text = "".join(Decoder(io.BytesIO(head)).blocks()).lstrip("\ufeff \t\r\n")
    if not text:
        return Kind(why_not="empty")
    if USERDATA.fullmatch(name):
        service = "listenbrainz" if '"user_id"' in text else "spotify"
        return Kind(why_not=TELLS_NOTHING, service=service, account=_account(text))
    return _by_text(name.lower(), text) or _by_table(head, text)


def _by_text(name: str, text: str) -> Kind | None:
    if text.startswith("#AUDIOSCROBBLER") or name.endswith("scrobbler.log"):
        return Kind("scrobbler log", service="player")
    if text.startswith(M3U_HEAD):
        return Kind("m3u")
    if is_text(text):
        return Kind("text")
    if text.startswith("<"):
        return Kind("xspf") if re.search(r"<(?:\w+:)?(?:playlist|track|trackList)\b", text) else _NOTHING
    if text[0] in "[{" or name.endswith((".json", ".jsonl", ".jspf")):
        return _by_json(text)
    return None


def _by_json(text: str) -> Kind | None:
    for reader, look in _JSON:
        if look.search(text):
            if reader in NOT_READ:
                return Kind(why_not=NOT_READ[reader])
            service = {"plays": "spotify", "listens": "listenbrainz", "watched": "youtube"}.get(reader, reader)
            return Kind(reader, service=service, account=_account(text) if reader == "plays" else "")
    return _NOTHING if text[0] in "[{" else None


def _by_table(head: bytes, text: str) -> Kind:
    if text.count("\x00") > len(text) / 20:
        return Kind(why_not="no text")
    table = open_tracks(io.BytesIO(head))
    if not isinstance(table, list):
        joined = table.dialect.joined in (Joined.COMMA_SPACE, Joined.LISTED)
        return Kind("table", service=table.dialect.name, names_may_be_joined=joined)
    headings = heading_text(table)
    if len(table) < 2:
        return Kind(why_not=NO_LISTENING)
    return Kind(why_not=f"no table of tracks: no headings of titles and artists. Its first line is {headings!r}")


def _account(text: str) -> str:
    named = _ACCOUNT.search(text)
    try:
        return str(json.loads(f'"{named[1]}"')) if named else ""
    except ValueError:
        return ""
