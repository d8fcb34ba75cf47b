"""The track index in LanceDB: every track of the catalogue, found by its trigrams, its words and its meaning.

Trigrams are words of a column of their own and indexed as such: LanceDB's own n-gram tokenizer needs 440 ms for a
query among 1,000,000 tracks, this 25 ms, and its fuzzy search finds less than no fuzziness at all (docs/tracks.md).
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

import numpy as np

from spotify_dag.features.audio import RANGES
from spotify_dag.files import delete_folder
from spotify_dag.locks import locked
from spotify_dag.root import ObjectPath, Root
from spotify_dag.stores.lance_files import PRIMARY_KEY, damaged_files
from spotify_dag.tracks.catalogue_rows import folded
from spotify_dag.tracks.text_search import (
    QUERY_CHARS,
    SEPARATOR,
    Filters,
    gram_text,
    grams,
    likeness,
    printable,
    title_keys,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    import pyarrow as pa

METRIC: Final = "cosine"
SCAN_ROWS = 50_000
"""Rows of a batch where all are read; LanceDB's own thousand takes several times as long."""
EXACT_ROWS = 5_000
"""Up to here, vectors are scanned; beyond, an index answers in a fraction of the time."""
UNINDEXED_ROWS = 2_000
"""New rows that are not worth the seconds it takes to fold them into the indexes of a large catalogue."""
PROBES = 24
BY_GRAMS, BY_WORDS, BY_MEANING = 50, 30, 30
"""Candidates taken from each index."""
SURE, VAGUE = 0.85, 0.6
"""Likeness of the best candidate from which on the words, and the meaning, of a text need not be looked up."""
MEANING = 0.8
"""What the cosine of meanings counts beside the likeness of letters."""
MAX_GRAMS = 120
INDEX_CACHE, METADATA_CACHE = 1 << 30, 1 << 28
"""Bytes that LanceDB may keep of indexes and of metadata: the indexes of a million tracks fit."""
SHOWN = (
    "track_id",
    "catalogue_number",
    "track_name",
    "artist_name",
    "album_name",
    "release_year",
    "popularity",
    "genres",
)
COMPARED = ("song_key", "title", "artist", "album", "playlists")
CARDS_KEPT = 200_000
"""Cards kept in memory, about 300 bytes each; those of a catalogue that is no larger are read at once."""
MADE = b"made"
"""In the metadata of a schema: what is another one for each table that was made anew."""
CARD = "card"
"""JSON of the columns `SHOWN` and `COMPARED`: one column is read in a third of the time of thirteen."""


@dataclass(frozen=True)
class Found:
    """One song that a search found, by the recording that fits best."""

    score: float
    """Likeness of letters or meaning, 0 to 1."""
    track: dict[str, Any]
    """The columns `SHOWN`."""
    recordings: int
    """How many recordings of the song were among the candidates."""


@dataclass(frozen=True)
class _Opened:
    """A table and the cards that were read of it, so that a query needs to say only which rows it found.

    To read the cards of fifty rows takes as long as to find them. A row id of LanceDB is a place in a file that is
    written once: a row that changes gets another one, so a card that was kept is never out of date.
    """

    table: Any
    made: object
    """Which table it is. In a folder its inode, and when something was last made or renamed in it; in object storage
    the `MADE` of its schema."""
    kept: dict[int, str] = field(default_factory=dict)

    def cards(self, row_ids: Sequence[int]) -> list[Any]:
        """Return the cards of different rows, None for one that was deleted in between."""
        # Another thread may clear what is kept at any moment.
        by_row = {row: self.kept.get(row) for row in row_ids}
        if missing := [row for row, card in by_row.items() if card is None]:
            if not self.kept and self.table.count_rows() <= CARDS_KEPT:
                cards = self.table.search().limit(None).with_row_id(True).select([CARD]).to_arrow()
            else:
                cards = self.table.take_row_ids(missing).with_row_id().select([CARD]).to_arrow()
            read: dict[int, str] = dict(zip(cards["_rowid"].to_pylist(), cards[CARD].to_pylist(), strict=True))
            if len(self.kept) + len(read) > CARDS_KEPT:
                self.kept.clear()
            self.kept.update(read)
            by_row |= {row: read.get(row) for row in missing}
        return [card and json.loads(card) for card in by_row.values()]


class TrackIndex:
    """The index under one root: ``tracks.lance``."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._opened: _Opened | None = None

    @property
    def table(self) -> Any:
        """The LanceDB table as of now; None where it was never written."""
        opened = self._open()
        return opened and opened.table

    def _open(self) -> _Opened | None:
        if isinstance(self.root, ObjectPath):
            return self._open_in_storage()
        try:
            folder = (self.root / "tracks.lance").stat()
        except FileNotFoundError:
            return None
        # A table that was dropped and made anew, by whatever process, is another one. So, once, is one whose first row
        # was deleted, which costs no more than a second look.
        made = (folder.st_ino, folder.st_ctime_ns)
        if self._opened is None or self._opened.made != made:
            table = _table(self.root)
            if table is None:  # its folder is there, and its first version not yet
                return None
            self._opened = _Opened(table, made)
        self._opened.table.checkout_latest()
        return self._opened

    def _open_in_storage(self) -> _Opened | None:
        opened = self._opened
        table = _table(self.root) if opened is None else opened.table
        if table is not None:
            try:
                table.checkout_latest()
            except (ValueError, RuntimeError) as error:
                if "not found" not in str(error):
                    raise
                table = None  # it was dropped
        made = None if table is None else (table.schema.metadata or {}).get(MADE)
        if opened is None or table is None or opened.made != made:
            self._opened = None if table is None else _Opened(table, made)
        return self._opened

    def column(self, name: Literal["track_id", "content_hash"]) -> pl.DataFrame:
        """Return one column of every row."""
        import polars as pl

        if self.table is None:
            return pl.DataFrame(schema={name: pl.String if name == "track_id" else pl.Int64})
        return pl.concat(map(pl.DataFrame, self._batches([name])))

    def vectors(self, track_ids: pl.Series) -> np.ndarray:
        """Return the vectors of tracks in the order given, ``[tracks, dim]`` float32; zero where one is not in."""
        import polars as pl

        table = self.table
        if table is None:
            return np.zeros((len(track_ids), 0), np.float32)
        places = pl.DataFrame({"track_id": track_ids}).with_row_index("place")
        vectors = np.zeros((len(track_ids), table.schema.field("vector").type.list_size), np.float32)
        for batch in self._batches(["track_id", "vector"]):
            placed = batch.join(places, on="track_id")
            vectors[placed["place"].to_numpy()] = placed["vector"].to_numpy()
        return vectors

    def _batches(self, columns: list[str], where: str | None = None) -> Iterator[pl.DataFrame]:
        """Yield some columns of every row, at least one frame."""
        import polars as pl

        reader = _where(self.table.search(), where).select(columns).limit(None).to_batches(batch_size=SCAN_ROWS)
        yield pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))
        yield from (pl.DataFrame(pl.from_arrow(batch)) for batch in reader)

    def write(self, rows: pl.DataFrame, vectors: np.ndarray) -> None:
        """Add tracks, or replace those of the same id, in one commit.

        Parameters
        ----------
        rows
            Columns of `schemas.TRACK_CATALOGUE`, and those of `features.audio.RANGES`.
        vectors
            ``[rows, dim]`` float32, unit length.
        """
        data = _arrow(rows, vectors)
        with self._writing():
            table = self.table
            if table is None:
                self.root.mkdir(parents=True, exist_ok=True)
                _connect(self.root).create_table("tracks", schema=_keyed(data.schema))
                table = self.table
            if table.count_rows() == 0:
                table.add(data)
                return
            table.merge_insert("track_id").when_matched_update_all().when_not_matched_insert_all().execute(data)

    def remove(self, track_ids: Sequence[str]) -> None:
        """Take tracks out."""
        with self._writing():
            if self.table is not None and track_ids:
                self.table.delete(f"track_id in ({_listed(track_ids)})")

    def _writing(self) -> AbstractContextManager[bool]:
        """Hold the lock of this index: one writer at a time. Readers need no lock."""
        return locked(self.root / ".locks" / "tracks")

    def expunge(self, track_ids: Sequence[str]) -> int:
        """Remove tracks from the index, from all of its older versions and from the disk; return how many there were.

        The table is written anew: deleting a row only marks it, and indexes go on holding its words. A reader of
        the old one finds its files gone.
        """
        with self._writing():
            if isinstance(self.root, ObjectPath):
                return self._without_in_storage(track_ids)
            return self._without(self.root, track_ids)

    def _without(self, root: Path, track_ids: Sequence[str]) -> int:
        import pyarrow as pa

        for left_over in (*root.glob(".new-*"), *root.glob(".old-*")):
            shutil.rmtree(left_over, ignore_errors=True)
        table = self.table
        if table is None or not track_ids:
            return 0
        rows = table.count_rows()
        remaining = table.search().where(f"track_id not in ({_listed(track_ids)})").limit(None)
        with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as scratch:
            reader = remaining.to_batches(batch_size=SCAN_ROWS)
            # The schema as it was read says what the primary key is.
            batches = (batch.select(table.schema.names) for batch in reader)
            source = pa.RecordBatchReader.from_batches(table.schema, batches)
            _connect(Path(scratch)).create_table("tracks", source, schema=table.schema)
            made = TrackIndex(Path(scratch))
            made.optimise()
            left = made.table.count_rows()
            old = Path(tempfile.mkdtemp(dir=root, prefix=".old-"))
            (root / "tracks.lance").rename(old / "tracks.lance")
            (Path(scratch) / "tracks.lance").rename(root / "tracks.lance")
        shutil.rmtree(old, ignore_errors=True)
        self._opened = None
        return int(rows - left)

    def _without_in_storage(self, track_ids: Sequence[str]) -> int:
        """Write the table as its next version, and delete those before, also without any tracks to remove.

        So who was killed before all was deleted ends it by doing it again.
        """
        table = self.table
        if table is None:
            return 0
        gone = table.count_rows(f"track_id in ({_listed(track_ids)})") if track_ids else 0
        if gone:
            rows = table.search().where(f"track_id not in ({_listed(track_ids)})").limit(None).to_arrow()
            rows = rows.select(table.schema.names).cast(_keyed(table.schema))
            table = _connect(self.root).create_table("tracks", rows, mode="overwrite")
            _index(table)
        with warnings.catch_warnings():
            # It warns that readers of older versions will fail, which is meant here.
            warnings.simplefilter("ignore", UserWarning)
            table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        return int(gone)

    def optimise(self) -> None:
        """Build the indexes that are missing; fold in new rows once they are many, and drop old versions.

        Rows that are in no index yet are found all the same: they are looked through one by one.
        """
        with self._writing():
            if (table := self.table) is not None:
                _index(table)

    def search(
        self, text: str, k: int, encode: Callable[[list[str]], np.ndarray], filters: Filters | None = None
    ) -> list[Found]:
        """Return the songs that a text names or means, best first; those of equal score by popularity.

        Parameters
        ----------
        text
            Title, artist, album, or what it is about, in any order. An empty one finds what is popular.
        k
            How many songs.
        encode
            Turns texts into vectors; called only where letters alone find nothing that fits.
        filters
            What to restrict the answer to.

        Raises
        ------
        SearchError
            If a filter cannot be.
        """
        where = (filters or Filters()).where()
        text = printable(text[:QUERY_CHARS])
        query = fold(text)
        opened = self._open()
        if opened is None:
            return []
        if not query:
            return self._songs(self._popular(where, k), k)
        typed = " ".join([*title_keys(query), *sorted(grams(query))[:MAX_GRAMS]])
        count = max(BY_GRAMS, 2 * k)
        scored = _scored(query, _matching(opened, typed, "grams", where, count))
        best = max((score for score, _ in scored.values()), default=0.0)
        if best < SURE:
            scored |= _scored(query, _matching(opened, query, "words", where, BY_WORDS))
            best = max((score for score, _ in scored.values()), default=0.0)
        if best < VAGUE:
            for cosine, row in _nearest(opened, encode([text])[0], BY_MEANING, where):
                score = max(MEANING * cosine, scored.get(row["track_id"], (0.0, row))[0])
                scored[row["track_id"]] = (score, row)
        return self._songs(list(scored.values()), k)

    def nearest(self, vector: np.ndarray, count: int, where: str | None = None) -> list[tuple[float, dict[str, Any]]]:
        """Return the tracks whose vectors are nearest, each after its cosine."""
        opened = self._open()
        return [] if opened is None else _nearest(opened, vector, count, where)

    def rows(self, track_ids: Sequence[str], columns: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
        """Return the columns `SHOWN`, `COMPARED` and ``columns`` of some tracks, by track id."""
        if self.table is None or not track_ids:
            return {}
        search = self.table.search().where(f"track_id in ({_listed(track_ids)})")
        answers = search.select([CARD, *columns]).limit(len(track_ids)).to_arrow().to_pylist()
        cards = [{**row, **json.loads(row.pop(CARD))} for row in answers]
        return {row["track_id"]: row for row in cards}

    def _popular(self, where: str | None, k: int) -> list[tuple[float, dict[str, Any]]]:
        import polars as pl

        tracks = pl.concat(self._batches(["track_id", "popularity", "playlists"], where))
        first = tracks.top_k(4 * k, by=[pl.col("popularity").fill_null(0), "playlists"])
        return [(0.0, row) for row in self.rows(first["track_id"].to_list()).values()]

    def _songs(self, scored: list[tuple[float, dict[str, Any]]], k: int) -> list[Found]:
        order = sorted(
            scored,
            # To two places: a smaller difference is less than that between two songs, one popular, one not.
            key=lambda pair: (
                -round(pair[0], 2), -(pair[1]["popularity"] or 0), -pair[1]["playlists"], pair[1]["track_id"],
            ),
        )  # fmt: skip
        songs: dict[str, list[tuple[float, dict[str, Any]]]] = {}
        for score, row in order:
            songs.setdefault(row["song_key"], []).append((score, row))
        return [
            Found(recordings[0][0], {name: recordings[0][1][name] for name in SHOWN}, len(recordings))
            for recordings in list(songs.values())[:k]
        ]

    def drop_damaged(self) -> list[str]:
        """Delete the index where a file of it is damaged; return what was."""
        folder = self.root / "tracks.lance"
        if not folder.is_dir() or not damaged_files(folder):
            return []
        with self._writing():  # again: a writer may have replaced what was looked at, or be making it
            wrong = damaged_files(folder) if folder.is_dir() else []
            if wrong:
                self.drop()
        return wrong

    def drop(self) -> None:
        """Delete the index."""
        self._opened = None
        delete_folder(self.root / "tracks.lance")


def _table(root: Root) -> Any:
    """Return the table, or None."""
    try:
        return _connect(root).open_table("tracks")
    except ValueError as error:
        if "was not found" in str(error):
            return None
        raise


def _keyed(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a new table: the track id is its primary key, and it is another table than any before."""
    place = schema.get_field_index("track_id")
    key = schema.field(place).with_metadata({PRIMARY_KEY: "true"})
    return schema.set(place, key).with_metadata({MADE: uuid4().hex.encode()})


def _index(table: Any) -> None:
    """Build the indexes that are missing; fold in new rows once they are many."""
    from lancedb.index import FTS, Bitmap, BTree, IvfSq, LabelList

    missing = {
        "track_id": BTree(),
        "grams": FTS(
            base_tokenizer="whitespace", lower_case=False, stem=False, remove_stop_words=False, ascii_folding=False
        ),
        "words": FTS(base_tokenizer="simple", stem=True, remove_stop_words=False, ascii_folding=True),
        "release_year": BTree(),
        "explicit": Bitmap(),
        "genres": LabelList(),
    }
    if (rows := table.count_rows()) > EXACT_ROWS:
        missing["vector"] = IvfSq(distance_type=METRIC, num_partitions=max(1, round(rows**0.5 / 2)))
    present = {column for index in table.list_indices() for column in index.columns}
    for column in missing.keys() - present:
        table.create_index(column, config=missing[column])
    if missing.keys() - present or table.index_stats("grams_idx").num_unindexed_rows > UNINDEXED_ROWS:
        table.optimize(cleanup_older_than=timedelta(hours=1))


def fold(text: str) -> str:
    """Return one text as `features.tracks.folded` does a column."""
    import polars as pl

    return pl.select(folded(pl.lit(text))).item()


def _arrow(rows: pl.DataFrame, vectors: np.ndarray) -> pa.Table:
    import polars as pl
    import pyarrow as pa

    compared = rows.with_columns(
        folded(pl.col("track_name")).alias("title"),
        folded(pl.col("artist_name")).alias("artist"),
        folded(pl.col("album_name")).alias("album"),
    )
    names = compared.select(
        "title", pl.col("song_key").str.splitn(SEPARATOR, 2).struct.field("field_1"), "artist"
    ).iter_rows()
    compared = compared.with_columns(
        pl.struct(*SHOWN, *COMPARED).struct.json_encode().alias(CARD),
        pl.Series("grams", [gram_text(*row) for row in names], dtype=pl.String),
        pl.concat_str("track_name", "artist_name", "album_name", separator=" ", ignore_nulls=True).alias("words"),
        pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
    )
    text, number = pa.string(), pa.float32()
    schema = pa.schema(
        [
            pa.field("track_id", text, nullable=False),
            pa.field("content_hash", pa.int64()),
            *(pa.field(name, text) for name in (CARD, "grams", "words")),
            pa.field("release_year", pa.int16()),
            pa.field("popularity", number),
            pa.field("playlists", pa.int32()),
            pa.field("explicit", pa.bool_()),
            pa.field("genres", pa.list_(text)),
            *(pa.field(name, number) for name in RANGES),
            pa.field("vector", pa.list_(pa.float32(), vectors.shape[1])),
        ]
    )
    return compared.select(schema.names).to_arrow().cast(schema)


def _scored(query: str, rows: list[dict[str, Any]]) -> dict[str, tuple[float, dict[str, Any]]]:
    return {row["track_id"]: (likeness(query, row), row) for row in rows}


def _matching(opened: _Opened, text: str, column: str, where: str | None, count: int) -> list[dict[str, Any]]:
    from lancedb.query import MatchQuery

    search = opened.table.search(MatchQuery(text, column))  # type: ignore[call-arg]
    return [card for _, card in _found(opened, _where(search, where), "_score", count)]


def _nearest(opened: _Opened, vector: np.ndarray, count: int, where: str | None) -> list[tuple[float, dict[str, Any]]]:
    search = opened.table.search(vector, vector_column_name="vector").distance_type(METRIC).minimum_nprobes(PROBES)
    # A rare filter must not end with too few rows: the search goes on until there are enough.
    search = search.maximum_nprobes(0) if where else search.maximum_nprobes(PROBES)
    return [(1 - distance, card) for distance, card in _found(opened, _where(search, where), "_distance", count)]


def _found(opened: _Opened, search: Any, value: str, count: int) -> list[tuple[float, dict[str, Any]]]:
    """Return what a query finds: a value of each row, and its card."""
    rows = search.with_row_id(True).select([value]).limit(count).to_arrow()
    cards = opened.cards(rows["_rowid"].to_pylist())
    return [(value, card) for value, card in zip(rows[value].to_pylist(), cards, strict=True) if card is not None]


def _where(search: Any, where: str | None) -> Any:
    return search.where(where, prefilter=True) if where else search


def _listed(track_ids: Sequence[str]) -> str:
    return ", ".join("'" + track.replace("'", "''") + "'" for track in track_ids)


def _connect(root: Root) -> Any:
    import lancedb

    # Without a limit, what was read while a large index was built stays in memory.
    return lancedb.connect(str(root), session=lancedb.Session(INDEX_CACHE, METADATA_CACHE))
