"""Files as people really have them: every kind written anew, around made-up listening."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samples.export_files import HEADING_A, as_json, item, library, play, playlists, short_play

SONGS = (
    ("Ebb", ("Lune Claire", "Åsa Fjord"), "Tides", "2019-03-01"),
    ("Años", ("Señor Gris",), "Azul", "2004"),
    ("Vidrio", ("Mill, The Grinder", "Paper Fox"), "Vitrine", "1987-11"),
    ("Ten, Twenty", ("20,000 Birds",), "Flock", "2013-06-25"),
)
"""Title, artists, album, date."""
ARTISTS = [list(artists) for _, artists, _, _ in SONGS]
TITLES = [title for title, *_ in SONGS]
YEARS = [2019, 2004, 1987, 2013]


def track_id(number: int) -> str:
    return f"{number:02d}" + "uVwXyZ0123456789aBcD"


def uri(number: int) -> str:
    return f"spotify:track:{track_id(number)}"


def ids(artists: Sequence[str], start: str = "") -> list[str]:
    return [f"{start}{sum(map(ord, artist)):022d}" for artist in artists]


def text(rows: Sequence[Sequence[Any]], separator: str = ",", newline: str = "\n", **options: Any) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=newline, **options).writerows(rows)
    return out.getvalue()


def net(first: str, joined: str, *, explicit: bool, artist_ids: bool = False, prefix: str = "") -> str:
    """Return a table of exportify.net of one of its years."""
    heading = [first] * bool(first) + ["Artist IDs"] * artist_ids + ["Track Name", "Album Name", "Artist Name(s)"]
    heading += ["Release Date", "Duration (ms)", "Popularity"] + ["Explicit"] * explicit
    heading += ["Added By", "Added At", "Genres", "Record Label"]
    rows: list[list[Any]] = [heading]
    for number, (title, artists, album, date) in enumerate(SONGS):
        row: list[Any] = [prefix + track_id(number)] * bool(first) + [",".join(ids(artists))] * artist_ids
        row += [title, album, joined.join(artists), date, 200_000, 20] + ["false"] * explicit
        rows.append([*row, "somebody", "2022-05-01T10:00:00Z", "folk,indie", "Label"])
    return text(rows)


def app(heading: Sequence[str], *, escaped: bool = True) -> str:
    """Return a table of exportify.app."""
    rows: list[Sequence[Any]] = [heading]
    for number, (title, artists, album, date) in enumerate(SONGS):
        names = [artist.replace(",", "\\,") if escaped else artist for artist in artists]
        values = dict.fromkeys(HEADING_A, "") | {
            "Track URI": uri(number),
            "Track Name": title,
            "Artist Name(s)": ", ".join(names),
            "Artist URI(s)": ", ".join(ids(artists, "spotify:artist:")),
            "Album URI": "spotify:album:x",
            "Album Name": album,
            "Album Artist URI(s)": "spotify:artist:x",
            "Album Artist Name(s)": "Various Artists",
            "Album Release Date": date,
            "Explicit": "false",
            "Popularity": "20",
            "Added By": "spotify:user:somebody",
        }
        rows.append(list(values.values()))
    return text(rows, quoting=csv.QUOTE_ALL)


def saved_by_spreadsheet(separator: str, dates: Sequence[str], *, newline: str = "\r\n") -> str:
    """Return a table of exportify.net as a spreadsheet of another country saves it."""
    heading = ["Track URI", "Track Name", "Album Name", "Artist Name(s)", "Release Date", "Popularity", "Explicit"]
    rows = [
        [uri(number), title, album, ";".join(artists), date, 20, "FALSE"]
        for number, ((title, artists, album, _), date) in enumerate(zip(SONGS, dates, strict=True))
    ]
    return text([heading, *rows], separator, newline)


@dataclass(frozen=True)
class Kind:
    """Files of one kind, and what must come out of them."""

    name: str
    files: Mapping[str, bytes]
    lists: Mapping[str | None, Sequence[str]]
    """Titles by the names of playlists."""
    artists: Sequence[Sequence[str]] | None = None
    """Artists of the first list, row by row; None where they are not looked at."""
    plays: int = 0
    years: Sequence[int | None] | None = None
    rejected: int = 0
    """Rows that are rejected."""


class _Unsaid(zipfile.ZipInfo):
    """A member whose name is UTF-8, which the archive does not say."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(), self.flag_bits & ~0x800


def zipped(files: Mapping[str, bytes], flag: bool = True) -> bytes:
    """Return a zip; without ``flag`` it does not say that its names are UTF-8."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if flag else _Unsaid(name), content)
    return out.getvalue()


def account(number: int = 0) -> dict[str, bytes]:
    return {
        "Playlist1.json": as_json(playlists({"Quiet": [item(1), item(2)]})),
        "YourLibrary.json": as_json(library([5, 6])),
        "StreamingHistory_music_0.json": as_json([short_play(7, number), short_play(8, number + 1)]),
    }


LISTEN = {"track_metadata": {"track_name": "Ebb", "artist_name": "Lune Claire", "release_name": "Tides"}}
LIKED = "Liked songs"
_ACCOUNT = {"Quiet": ["Song 1", "Song 2"], LIKED: ["Song 5", "Song 6"]}
_XSPF = """<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/">
<title>Road &amp; Rain</title><trackList>
<track><location>https://open.spotify.com/track/{0}</location><title>Ebb</title><creator>Lune Claire</creator></track>
<track><title><![CDATA[Años]]></title><creator>Señor Gris</creator><album>Azul</album></track></trackList></playlist>"""


_PANO = b"""{"timeMs": 1709287200000, "track": "Ebb", "artist": "Lune Claire", "event": "scrobble"}
{"timeMs": 1709287300000, "track": "Vidrio", "artist": "Paper Fox", "event": "skip"}
"""
_LOG = b"""#AUDIOSCROBBLER/1.1
#TZ/UTC
#CLIENT/Player
Lune "C" Claire\tTides\tEbb\t1\t200\tL\t1709287200\t
Paper Fox\tV\tVidrio\t1\t200\tS\t1709287500\t
"""


def _tables() -> list[Kind]:
    named = {"quiet": TITLES}
    first = [artists[0] for artists in ARTISTS]
    rows = [[title, "; ".join(artists), album] for title, artists, album, _ in SONGS]
    found = [
        Kind(
            "exportify.net 2019",
            {"quiet.csv": net("Spotify ID", ",", explicit=False, artist_ids=True).encode()},
            named,
            ARTISTS,
            years=YEARS,
        ),
        Kind(
            "exportify.net 2024",
            {"quiet.csv": net("Track ID", ",", explicit=False).encode()},
            named,
            ARTISTS,
            years=YEARS,
        ),
        Kind(
            "exportify.net April 2025",
            {"quiet.csv": net("Track URI", ",", explicit=False, prefix="spotify:track:").encode()},
            named,
            ARTISTS,
        ),
        Kind(
            "exportify.net July 2025",
            {"quiet.csv": net("Track URI", ",", explicit=True, prefix="spotify:track:").encode()},
            named,
            ARTISTS,
        ),
        Kind(
            "exportify.net 2026",
            {"quiet.csv": net("Track URI", ";", explicit=True, prefix="spotify:track:").encode()},
            named,
            ARTISTS,
        ),
        Kind("exportify.net without ids", {"quiet.csv": net("", ",", explicit=False).encode()}, named, ARTISTS),
        Kind("exportify.app", {"quiet.csv": app(HEADING_A).encode()}, named, ARTISTS, years=YEARS),
        Kind(
            "exportify.app, commas as they are", {"quiet.csv": app(HEADING_A, escaped=False).encode()}, named, ARTISTS
        ),
        Kind(
            "headings of its own",
            {
                "mine.csv": text(
                    [
                        ["uri", "name", "artist", "album"],
                        *([uri(n), t, a[0], al] for n, (t, a, al, _) in enumerate(SONGS)),
                    ]
                ).encode()
            },
            {"mine": TITLES},
            [[name] for name in first],
        ),
        Kind(
            "headings of its own, elsewhere",
            {"mine.csv": text([["Álbum", "Artista", "Título"], *([al, a[0], t] for t, a, al, _ in SONGS)]).encode()},
            {"mine": TITLES},
            [[name] for name in first],
        ),
        Kind(
            "rows numbered without a heading",
            {
                "mine.csv": text(
                    [["track_name", "artists"], *([n, t, a[0]] for n, (t, a, _, _) in enumerate(SONGS, 1))]
                ).encode()
            },
            {"mine": TITLES},
            [[name] for name in first],
        ),
        Kind(
            "a column of playlists",
            {
                "all.csv": text(
                    [
                        ["Track URI", "Track Name", "Artist Name(s)", "Playlist Name"],
                        *([uri(n), t, ";".join(a), ("Road", "Night")[n % 2]] for n, (t, a, _, _) in enumerate(SONGS)),
                    ]
                ).encode()
            },
            {"Road": TITLES[::2], "Night": TITLES[1::2]},
            ARTISTS[::2],
        ),
        Kind(
            "TuneMyMusic",
            {
                "My Spotify Library.csv": text(
                    [
                        ["Track name", "Artist name", "Album", "Playlist name", "Type", "ISRC", "Spotify - id"],
                        ["Ebb", "Lune Claire, Åsa Fjord", "Tides", "Road", "Playlist", "X", track_id(0)],
                        ["Años", "Señor Gris", "Azul", "Liked", "Favorite", "X", track_id(1)],
                    ]
                ).encode("utf-8-sig")
            },
            {"Road": ["Ebb"], LIKED: ["Años"]},
            [["Lune Claire", "Åsa Fjord"]],
        ),
        Kind(
            "Soundiiz",
            {
                "Road.csv": text(
                    [
                        ["title", "artist", "album", "isrc"],
                        *([*row[:1], row[1].replace("; ", ", "), row[2], "X"] for row in rows[:2]),
                    ],
                    ";",
                ).encode()
            },
            {"Road": TITLES[:2]},
            ARTISTS[:2],
        ),
        Kind(
            "Chosic",
            {
                "chosic.csv": text(
                    [
                        [
                            "#",
                            "Song",
                            "Artist",
                            "Popularity",
                            "Genres",
                            "Album",
                            "Album Date",
                            "Time",
                            "Spotify Track Id",
                        ],
                        [
                            "1",
                            "Ebb",
                            "Lune Claire, Åsa Fjord",
                            "20",
                            "folk, indie",
                            "Tides",
                            "2019-03-01",
                            "03:20",
                            track_id(0),
                        ],
                    ],
                    quoting=csv.QUOTE_ALL,
                ).encode()
            },
            {"chosic": ["Ebb"]},
            [["Lune Claire", "Åsa Fjord"]],
            years=[2019],
        ),
        Kind(
            "iTunes",
            {
                "Road.txt": text(
                    [["Name", "Artist", "Album", "Year", "Plays"], ["Ebb", "Lune Claire", "Tides", "2019", "3"]],
                    "\t",
                    "\r",
                ).encode("utf-16")
            },
            {"Road": ["Ebb"]},
            [["Lune Claire"]],
            years=[2019],
        ),
        Kind(
            "YouTube Music",
            {
                "music library songs.csv": text(
                    [
                        ["Song URL", "Song Title", "Album Title", "Artist Names"],
                        ["https://x", "Ebb", "Tides", "Lune Claire, Åsa Fjord"],
                    ]
                ).encode()
            },
            {"music library songs": ["Ebb"]},
            [["Lune Claire", "Åsa Fjord"]],
        ),
        Kind(
            "JSPF",
            {
                "p.jspf": as_json(
                    {
                        "playlist": {
                            "title": "Road",
                            "creator": "somebody",
                            "track": [
                                {
                                    "title": "Ebb",
                                    "creator": "Lune Claire",
                                    "identifier": [f"https://open.spotify.com/track/{track_id(0)}"],
                                }
                            ],
                        }
                    }
                )
            },
            {"Road": ["Ebb"]},
            [["Lune Claire"]],
        ),
        Kind(
            "XSPF",
            {"p.xspf": _XSPF.format(track_id(0)).encode()},
            {"Road & Rain": ["Ebb", "Años"]},
            [["Lune Claire"], ["Señor Gris"]],
        ),
    ]
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac_roman"):
        for separator in (";", "\t", ","):
            dates = ["01/03/19", "2004", "Nov-87", "25/06/2013"]
            content = saved_by_spreadsheet(separator, dates).encode(encoding)
            found.append(
                Kind(f"spreadsheet {encoding} {separator!r}", {"quiet.csv": content}, named, ARTISTS, years=YEARS)
            )
    content = saved_by_spreadsheet(",", ["3/1/2019", "2004", "Nov-87", "6/25/2013"]).encode().decode("cp1252").encode()
    found.append(Kind("decoded wrongly once", {"quiet.csv": content}, named, ARTISTS, years=YEARS))
    found.append(
        Kind("sep=", {"quiet.csv": b"sep=;\r\n" + saved_by_spreadsheet(";", ["1/1/2019"] * 4).encode()}, named, ARTISTS)
    )
    lines = saved_by_spreadsheet(",", ["2019"] * 4).splitlines()
    found.append(
        Kind(
            "lines as one cell each",
            {"quiet.csv": text([[line] for line in lines], quoting=csv.QUOTE_ALL).encode()},
            named,
            ARTISTS,
        )
    )
    found.append(
        Kind("gzip", {"quiet.csv.gz": gzip.compress(net("Track ID", ",", explicit=False).encode())}, named, ARTISTS)
    )
    return found


def _folders() -> list[Kind]:
    quiet = net("Track ID", ",", explicit=False).encode()
    extended = {
        "Spotify Extended Streaming History/Streaming_History_Audio_2021_0.json": as_json([play(7, 900), play(9, 950)])
    }
    named = {f"MyData/{name}": content for name, content in account().items()}
    twice = {f"{year}/{name}": content for year in (2023, 2025) for name, content in account().items()}
    newer = {**twice, "2025/Playlist1.json": as_json(playlists({"Quiet": [item(1), item(2), item(3)]}))}
    with_plays = _ACCOUNT
    return [
        Kind(
            "two zips",
            {"my_spotify_data.zip": zipped(named), "my_spotify_data (1).zip": zipped(extended)},
            with_plays,
            plays=4,
        ),
        Kind("a zip beside its files", {"my_spotify_data.zip": zipped(named), **named}, with_plays, plays=2),
        Kind(
            "backslashes",
            {"d.zip": zipped({"MyData\\Playlist1.json": named["MyData/Playlist1.json"]})},
            {"Quiet": ["Song 1", "Song 2"]},
        ),
        Kind(
            "dots",
            {"d.zip": zipped({"..csv": quiet, "...and more.csv": quiet, ".csv": quiet, "normal.csv": quiet})},
            {".": TITLES, "...and more": TITLES, None: TITLES, "normal": TITLES},
        ),
        Kind(
            "names of zips without the flag",
            {"d.zip": zipped({"E\u0301te\u0301 a\u0300 la mer.csv": quiet}, flag=False)},
            {"Été à la mer": TITLES},
            ARTISTS,
        ),
        Kind("names of zips in cp437", {"d.zip": zipped({"café.csv": quiet})}, {"café": TITLES}, ARTISTS),
        Kind(
            "other names",
            {
                "anna_Playlist1.json": account()["Playlist1.json"],
                "Kopie von YourLibrary.json": account()["YourLibrary.json"],
                "2014.json": account()["StreamingHistory_music_0.json"],
            },
            with_plays,
            plays=2,
        ),
        Kind(
            "one file twice",
            {
                **account(),
                "Playlist1 (1).json": account()["Playlist1.json"],
                "YourLibrary (1).json": account()["YourLibrary.json"],
            },
            with_plays,
            plays=2,
        ),
        Kind("two downloads", twice, with_plays, plays=2),
        Kind("two downloads, the second newer", newer, {**_ACCOUNT, "Quiet": ["Song 1", "Song 2", "Song 3"]}, plays=2),
        Kind(
            "a library without its head",
            {"YourLibrary.json": account()["YourLibrary.json"].replace(b'"tracks": [', b"", 1)},
            {LIKED: ["Song 5", "Song 6"]},
        ),
        Kind(
            "playlists of 2019",
            {
                "Playlist.json": as_json(
                    {"playlists": [{"name": "Quiet", "tracks": [{"trackName": "Ebb", "artistName": "Lune Claire"}]}]}
                )
            },
            {"Quiet": ["Ebb"]},
            [["Lune Claire"]],
        ),
        Kind("music videos", {"Streaming_History_Video_2023.json": as_json([play(1, 1), play(1, 60)])}, {}, plays=2),
        Kind(
            "a Downloads folder",
            {
                **account(),
                "notes.txt": b"milk, eggs",
                "setup.exe": b"MZ\x00\x01" * 99,
                "budget.xlsx": zipped({"xl/workbook.xml": b"<x/>"}),
                "old.rar": b"Rar!\x1a\x07\x01",
                "bank.csv": b"date,amount\n2021-01-01,5\n",
                "photo.zip": zipped({"a.jpg": b"\xff\xd8\xff" * 9}),
                ".hidden/x.csv": quiet,
                "._quiet.csv": b"\x00\x05",
            },
            with_plays,
            plays=2,
        ),
    ]


def _scrobbles() -> list[Kind]:
    minute = [f"{day:02d} Mar 2024 10:00" for day in (1, 2)]
    song = ["Lune Claire", "Tides", "Ebb"]
    listens = [{"listened_at": 1_700_000_000 + 300 * n, **LISTEN} for n in range(3)]
    return [
        Kind(
            "lastfm-to-csv",
            {"someone.csv": text([[*song, minute[0]], [*song, minute[1]], [*song, minute[0]]]).encode()},
            {},
            plays=2,
        ),
        Kind(
            "lastfm.ghan.nl",
            {
                "s.csv": text(
                    [
                        ["uts", "utc_time", "artist", "artist_mbid", "album", "album_mbid", "track", "track_mbid"],
                        ["1709287200", minute[0], "Lune Claire", "", "Tides", "", "Ebb", ""],
                    ]
                ).encode()
            },
            {},
            plays=1,
        ),
        Kind(
            "Libre.fm",
            {
                "l.csv": b"# Libre.fm export\n# somebody\n"
                + text([["time", "artist", "track", "album"], ["1709287200", "Lune Claire", "Ebb", "Tides"]]).encode()
            },
            {},
            plays=1,
        ),
        Kind(
            "ListenBrainz",
            {
                "listenbrainz_x.zip": zipped(
                    {
                        "user.json": b'{"user_id": 1, "username": "x"}',
                        "listens/2024/1.jsonl": "\n".join(map(json.dumps, listens)).encode(),
                        "feedback.jsonl": b"",
                    }
                )
            },
            {},
            plays=3,
        ),
        Kind(
            "Maloja",
            {
                "maloja.json": as_json(
                    {
                        "scrobbles": [
                            {
                                "time": 1709287200,
                                "track": {
                                    "artists": ["Lune Claire", "Åsa Fjord"],
                                    "title": "Ebb",
                                    "album": {"albumtitle": "Tides"},
                                },
                                "duration": 200,
                            }
                        ]
                    }
                )
            },
            {},
            plays=1,
        ),
        Kind(
            "Pano Scrobbler",
            {"pano.jsonl": _PANO},
            {},
            plays=1,
        ),
        Kind(
            ".scrobbler.log",
            {".scrobbler.log": _LOG},
            {},
            plays=1,
        ),
        Kind(
            "Apple Music",
            {
                "Apple Music - Play History Daily Tracks.csv": text(
                    [
                        [
                            "Country",
                            "Media type",
                            "Date Played",
                            "Play Duration Milliseconds",
                            "Play Count",
                            "Track Description",
                        ],
                        ["DE", "AUDIO", "20240301", "200000", "2", "Lune Claire - Ebb - Live"],
                    ]
                ).encode()
            },
            {},
            plays=2,
        ),
        Kind(
            "YouTube Music, history",
            {
                "watch-history.json": as_json(
                    [
                        {
                            "header": "YouTube Music",
                            "title": "Watched Ebb",
                            "titleUrl": "https://x",
                            "subtitles": [{"name": "Lune Claire - Topic"}],
                            "time": "2024-03-01T10:00:00.123Z",
                        },
                        {
                            "header": "YouTube",
                            "title": "Watched a cat",
                            "titleUrl": "https://x",
                            "subtitles": [{"name": "Cats"}],
                            "time": "2024-03-01T11:00:00Z",
                        },
                    ]
                )
            },
            {},
            plays=1,
        ),
        Kind(
            "scrobbles of the same plays",
            {
                "endsong_0.json": as_json([play(1, 300), play(2, 400)]),
                "someone.csv": text(
                    [
                        ["Air", "Album 1", "Song 1", "01 May 2021 04:57"],
                        ["Air", "Album 1", "Song 1", "03 May 2021 04:57"],
                    ]
                ).encode(),
            },
            {},
            plays=3,
        ),
    ]


def _table(name: str, heading: Sequence[str], *rows: Sequence[Any], **options: Any) -> dict[str, bytes]:
    return {name: text([heading, *rows], **options).encode()}


def _archives_of_services() -> list[Kind]:
    """What Apple, Google and Tidal send on request, by the headings of several years."""
    activity = ["Event Start Timestamp", "Play Duration Milliseconds"]
    at = ["2024-03-01T10:00:00Z", "200000"], ["2024-03-01T11:00:00.123Z", "200000"], ["2024-03-01T12:00:00Z", "1000"]
    library = [
        {"Content Type": "Song", "Track Identifier": n, "Title": title, "Artist": artists[0], "Album": album}
        for n, (title, artists, album, _) in enumerate(SONGS)
    ]
    first = [[artists[0]] for artists in ARTISTS]
    return [
        Kind(
            "Apple Music, library",
            {"Apple Music Library Tracks.json": as_json(library)},
            {"Library": TITLES},
            first,
        ),
        Kind(
            "Apple Music, play activity",
            _table(
                "Apple Music Play Activity.csv", ["Artist Name", "Content Name", *activity],
                *(["Lune Claire", "Ebb", *time] for time in at),
            ),
            {},
            plays=2,
        ),
        Kind(
            "Apple Music, play activity since 2022",
            _table(
                "Apple Music Play Activity.csv", ["Album Name", "Container Artist Name", *activity, "Song Name"],
                *(["Tides", "Lune Claire", *time, "Ebb"] for time in at),
            ),
            {},
            plays=2,
        ),
        Kind(
            "Apple Music, track history",
            _table(
                "Apple Music - Track Play History.csv", ["Track Name", "Last Played Date", "Is User Initiated"],
                ["Lune Claire - Ebb", "1709287200000", "true"],
                ["Mill, The Grinder - Vidrio", "1709290800000", "false"],
            ),
            {},
            plays=2,
        ),
        Kind(
            "Tidal",
            _table(
                "streaming.csv", ["artist_name", "track_title", "entry_date", "stream_duration_ms"],
                ["Lune Claire", "Ebb", "2024-03-01", "200000"], ["Lune Claire", "Ebb", "2024-03-02", "9000"],
            ),
            {},
            plays=1,
        ),
        Kind(
            "YouTube Music, library and uploads",
            _table(
                "music library songs.csv", ["Video ID", "Song Title", "Album Title", "Artist Name 1", "Artist Name 2"],
                ["x", "Ebb", "Tides", "Lune Claire", "Åsa Fjord"], ["y", "Vidrio", "Vitrine", "Mill, The Grinder", ""],
            ),
            {"music library songs": ["Ebb", "Vidrio"]},
            [["Lune Claire", "Åsa Fjord"], ["Mill, The Grinder"]],
        ),
        Kind(
            "Kaggle, lists as Python prints them",
            _table(
                "tracks.csv", ["id", "name", "artists", "danceability"],
                *([track_id(n), title, str(list(artists)), 0.5] for n, (title, artists, _, _) in enumerate(SONGS)),
            ),
            {"tracks": TITLES},
            ARTISTS,
        ),
        Kind(
            "Kaggle, artists with semicolons",
            _table(
                "dataset.csv", ["", "track_id", "artists", "album_name", "track_name", "popularity", "track_genre"],
                *(
                    [n, track_id(n), ";".join(artists), album, title, 20, "folk"]
                    for n, (title, artists, album, _) in enumerate(SONGS)
                ),
            ),
            {"dataset": TITLES},
            ARTISTS,
        ),
        Kind(
            "a column of artists joined by a comma and a space",
            _table(
                "mine.csv", ["Title", "Artists"],
                ["Ebb", "Lune Claire, Åsa Fjord"], ["Años", "Lune Claire"], ["Vidrio", "Åsa Fjord"],
            ),
            {"mine": ["Ebb", "Años", "Vidrio"]},
            [["Lune Claire", "Åsa Fjord"], ["Lune Claire"], ["Åsa Fjord"]],
        ),
        Kind(
            "Exportify of 2018",
            _table(
                "quiet.csv", ["Spotify ID", "Track Name", "Artist Name", "Album Name", "Added At"],
                *([track_id(n), t, ", ".join(a), al, "x"] for n, (t, a, al, _) in enumerate(SONGS) if n != 2),
            ),
            {"quiet": [*TITLES[:2], *TITLES[3:]]},
            [*ARTISTS[:2], *ARTISTS[3:]],
        ),
        Kind(
            "album artists that are nobody",
            {"endsong_0.json": as_json([play(1, 1, master_metadata_album_artist_name="Various Artists"), play(2, 2)])},
            {},
            plays=1,
            rejected=1,
        ),
    ]  # fmt: skip


KINDS: Sequence[Kind] = (*_tables(), *_folders(), *_scrobbles(), *_archives_of_services())


@dataclass(frozen=True)
class Refused:
    """Files that are not read as one person's listening, and what the error says."""

    name: str
    files: Mapping[str, bytes]
    says: Sequence[str]


def _refused() -> list[Refused]:
    people = {f"{who}/{name}": content for who in ("a", "b") for name, content in account(50 * (who == "b")).items()}
    named = {f"{who}/Userdata.json": as_json({"username": f"user {who}"}) for who in ("a", "b")}
    local = [
        [*row[:7]] for row in csv.reader(net("Track URI", ";", explicit=True, prefix="spotify:local:").splitlines())
    ]
    pichl = [["user_id", "artistname", "trackname", "playlistname"]]
    pichl += [[f"{n % 2:032d}", artists[0], title, "Road"] for n, (title, artists, _, _) in enumerate(SONGS)]
    slices = as_json({"playlists": [{"pid": 0, "name": "Road", "tracks": [{"track_name": "Ebb", "artist_name": "A"}]}]})
    return [
        Refused("two people", {**people, **named}, ["2 people", "'user a'", "'user b'", "Hand in each on their own"]),
        Refused("local files", {"demos.csv": text(local).encode()}, ["4 of its rows: local files are known to nobody"]),
        Refused(
            "headings that name no artists", {"x.csv": text([["uri", "x", "y"], [uri(0), "Tides", "Ebb"]]).encode()},
            ["no headings of titles and artists", "uri, x, y"],
        ),
        Refused("Pichl's playlists", {"p.csv": text(pichl).encode()}, ["several people", "--source spotify-songs"]),
        Refused("a slice of playlists", {"mpd.slice.0-0.json": slices}, ["playlists of many people", "--source mpd"]),
        Refused("7z", {"a.7z": b"7z\xbc\xaf\x27\x1c" + b"x" * 99}, ["a 7z archive. Unpack it and give the folder"]),
        Refused("rar", {"a.rar": b"Rar!\x1a\x07\x01" + b"x" * 99}, ["a rar archive. Unpack it and give the folder"]),
        Refused(
            "a workbook", {"a.xlsx": zipped({"xl/workbook.xml": b"<x/>"})},
            ["an Excel workbook. Save it as CSV (UTF-8) and give that"],
        ),
    ]  # fmt: skip


REFUSED: Sequence[Refused] = _refused()
