"""Dumps of ListenBrainz over the generated world, in the format and the order of the real ones: month by month."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import zstandard

from spotify_dag.simulator.listening import SPAN, START, Listening

NAME = "listenbrainz-listens-dump-{number}-20260101-000003-{kind}"
SPARK = "listenbrainz-spark-dump-{number}-20260101-000003-{kind}"
_LINES = 100_000


def dump_path(folder: Path, number: int = 1, kind: str = "full") -> Path:
    return folder / f"{NAME.format(number=number, kind=kind)}.tar.zst"


def write_dump(
    path: Path, listening: Listening, users: Sequence[int], *, since: int = START, until: int = START + 10 * SPAN,
    extra: Sequence[bytes] = (), level: int = 3,
) -> int:  # fmt: skip
    """Write the listens of users in a range of time; return how many. ``extra`` are lines of the last month."""
    user, track, at = _listens(listening, users, since, until)
    fragments = {number: listening.fragment(number).encode() for number in set(track.tolist())}
    root = path.name.removesuffix(".tar.zst")
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor(level=level).stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        _add(archive, f"{root}/SCHEMA_SEQUENCE", b"1")
        months = list(_months(at))
        for place, (year, month, start, end) in enumerate(months):
            heads = [
                b'{"user_id": %d, "user_name": "%s", "timestamp": %d, '
                % (one, listening.world.user_id(one).encode(), when)
                for one, when in zip(user[start:end].tolist(), at[start:end].tolist(), strict=True)
            ]
            lines = [head + fragments[number] for head, number in zip(heads, track[start:end].tolist(), strict=True)]
            lines += extra if place == len(months) - 1 else []
            _add(archive, f"{root}/listens/{year}/{month}.listens", b"\n".join(lines) + b"\n")
    return len(at)


def write_spark_dump(path: Path, listening: Listening, users: Sequence[int]) -> int:
    """Write the same listens as tables of the variant for Spark."""
    user, track, at = _listens(listening, users, START, START + 10 * SPAN)
    metadata = [listening.metadata(number) for number in track.tolist()]
    mapped = [one.get("mbid_mapping", {}) for one in metadata]
    table = pl.DataFrame(
        {
            "listened_at": at,
            "user_id": user,
            "recording_msid": [one["additional_info"]["recording_msid"] for one in metadata],
            "artist_name": [one["artist_name"] for one in metadata],
            "release_name": [one.get("release_name") for one in metadata],
            "recording_name": [one["track_name"] for one in metadata],
            "recording_mbid": [one.get("recording_mbid") for one in mapped],
            "artist_credit_mbids": [one.get("artist_mbids") for one in mapped],
        },
        schema_overrides={"artist_credit_mbids": pl.List(pl.String)},
    )
    with tarfile.open(path, mode="w") as archive:
        for place, part in enumerate(table.iter_slices(50_000)):
            buffer = io.BytesIO()
            part.write_parquet(buffer)
            _add(archive, f"{path.stem}/{place}.parquet", buffer.getvalue())
    return len(at)


def _listens(listening: Listening, users: Sequence[int], since: int, until: int) -> tuple[np.ndarray, ...]:
    """Return user, track and second of listens in the order of time."""
    parts = [listening.listens(user) for user in users]
    user = np.repeat(np.array(users, np.int32), [len(part.at) for part in parts])
    track = np.concatenate([part.track for part in parts])
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at, kind="stable")
    order = order[(at[order] >= since) & (at[order] < until)]
    return user[order], track[order], at[order]


def _months(at: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Yield year, month, and where its listens begin and end."""
    start = 0
    while start < len(at):
        moment = datetime.fromtimestamp(int(at[start]), UTC)
        year, month = moment.year, moment.month
        following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()
        end = int(np.searchsorted(at, following))
        yield year, month, start, end
        start = end


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    archive.addfile(about, io.BytesIO(content))
