"""Months that exported files tell of: counted when they are read, and no time is kept."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from spotify_dag.inbox.user_requests import UserRequests
from spotify_dag.sources.export.kept import ExportSource, kept_months, kept_records, read_kept
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.handed_in import GivenRequests, UserRequest


def handed_in(root: Path, files: dict[str, str], earlier: UserRequest | None = None) -> UserRequest:
    folder = root / f"in-{len(list(root.iterdir()))}"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    requests = UserRequests(root / "requests")
    before = (requests.listening(earlier), requests.months(earlier)) if earlier else (None, None)
    reading = Reading(folder, "export-ann", before[0], earlier_months=before[1])
    frames = [*reading.frames(), *reading.months()]
    return requests.hand_in("export", "export-ann", frames, opted_in=False)


def months(root: Path, request: UserRequest) -> list[tuple[object, ...]]:
    counts = kept_months(read_kept(root / "requests" / "content" / request.content))
    return counts.filter(kind="artist").select("month", "name", "count").rows()


def play(time: str, artist: str, ms: int = 60_000) -> dict[str, object]:
    return {
        "ts": time, "ms_played": ms, "master_metadata_track_name": f"song of {artist}",
        "master_metadata_album_artist_name": artist, "spotify_track_uri": None, "incognito_mode": False,
    }  # fmt: skip


PLAYS = [
    play("2021-03-31T23:59:59Z", "Air"), play("2021-03-01T00:00:10Z", "Air"), play("2021-04-01T00:00:00Z", "Air"),
    play("2021-04-02T10:00:00Z", "Moby"), play("2021-04-02T11:00:00Z", "Moby", ms=1_000),
]  # fmt: skip
ADDED = """Track URI,Track Name,Album Name,Artist Name(s),Release Date,Popularity,Explicit,Added By,Added At
spotify:track:6f807x0ima9a1j3VPbc7VN,One,A,Air,1998-01-01,50,false,,2019-05-06T07:08:09Z
spotify:track:6f807x0ima9a1j3VPbc7VM,Two,A,Air,2001-01-01,50,false,,2020-01-02T03:04:05Z
"""


def test_plays_are_counted_by_the_month_they_began_in(tmp_path: Path) -> None:
    request = handed_in(tmp_path, {"Streaming_History_Audio_2021_0.json": json.dumps(PLAYS)})
    # The first of March ended ten seconds after midnight, and began in February; so did that of April in March.
    assert months(tmp_path, request) == [
        (202102, "Air", 1), (202103, "Air", 2), (202104, "Moby", 1),
    ]  # fmt: skip
    content = tmp_path / "requests" / "content" / request.content
    text = str(pl.read_parquet(content).to_dicts())
    assert not any(time in text for time in ("2021-03-31", "23:59:59", "2021-04-02", "10:00:00"))
    records = kept_records(content)
    assert records is not None
    assert records["artist_name"].to_list() == ["Air", "Moby"]
    (batch,) = ExportSource(GivenRequests.of([request]), tmp_path / "requests" / "content").batches()
    assert batch.months is not None
    assert batch.months.filter(kind="all")["count"].to_list() == [1, 2, 1]
    assert batch.months["user_id"].unique().to_list() == ["export-ann"]
    assert (batch.records.height, batch.rejects.filter("dropped").height) == (2, 0)


def test_items_are_counted_by_the_month_they_were_added_in(tmp_path: Path) -> None:
    request = handed_in(tmp_path, {"My list.csv": ADDED})
    assert months(tmp_path, request) == [(201905, "Air", 1), (202001, "Air", 1)]
    playlists = {"playlists": [{"name": "Mine", "items": [
        {"track": {"trackName": "One", "artistName": "Moby"}, "addedDate": "2018-12-31"},
        {"track": {"trackName": "Two", "artistName": "Moby"}, "addedDate": None},
    ]}]}  # fmt: skip
    request = handed_in(tmp_path, {"Playlist1.json": json.dumps(playlists)})
    assert months(tmp_path, request) == [(201812, "Moby", 1)]


def test_plays_say_more_than_what_was_added(tmp_path: Path) -> None:
    files = {"My list.csv": ADDED, "Streaming_History_Audio_2021_0.json": json.dumps(PLAYS[2:4])}
    assert months(tmp_path, handed_in(tmp_path, files)) == [(202103, "Air", 1), (202104, "Moby", 1)]


def test_a_later_download_adds_months_and_repeats_none(tmp_path: Path) -> None:
    first = handed_in(tmp_path, {"Streaming_History_Audio_2021_0.json": json.dumps(PLAYS)})
    again = [*PLAYS[2:], play("2021-05-05T05:05:05Z", "Air")]
    second = handed_in(tmp_path, {"Streaming_History_Audio_2021_0.json": json.dumps(again)}, first)
    assert months(tmp_path, second) == [
        (202102, "Air", 1), (202103, "Air", 2), (202104, "Moby", 1), (202105, "Air", 1),
    ]  # fmt: skip


def test_without_times_there_are_no_months(tmp_path: Path) -> None:
    request = handed_in(tmp_path, {"list.csv": "Track Name,Artist Name\nOne,Air\n"})
    assert months(tmp_path, request) == []
