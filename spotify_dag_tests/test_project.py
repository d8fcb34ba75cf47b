"""A data root: its parts belong together, and it is not read with other settings than it was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spotify_dag.layout import Layout, LayoutChangedError, LayoutError
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.sources.base import SourceError
from spotify_dag.stores.user_index import UserIndex


def opened(root: Path, **settings: Any) -> Project:
    return Project.open(Settings(data=root, **settings))


class TestLayout:
    def test_opening_creates_nothing(self, tmp_path: Path) -> None:
        project = opened(tmp_path / "data", n_buckets=16)
        assert project.lake.n_buckets == 16
        assert project.inbox.sources() == []
        assert project.registry.champion() is None
        assert project.published() is None
        assert project.genre_tables() == []
        assert not (tmp_path / "data").exists()

    def test_all_parts_are_under_the_root(self, tmp_path: Path) -> None:
        project = opened(tmp_path / "data")
        roots = [project.lake.root, project.inbox.root, project.registry.root, project.vectors]
        assert [root.parent for root in roots] == [tmp_path / "data"] * 4
        assert len({root.name for root in roots}) == 4
        assert project.user_index("tower-1") == UserIndex(project.vectors, "tower-1")
        assert project.matcher.lake == project.lake

    def test_the_number_of_buckets_is_remembered(self, tmp_path: Path) -> None:
        opened(tmp_path, n_buckets=16).check_layout()
        assert json.loads((tmp_path / "layout.json").read_text()) == {"n_buckets": 16}
        opened(tmp_path, n_buckets=16).check_layout()

    def test_another_number_of_buckets_is_refused(self, tmp_path: Path) -> None:
        opened(tmp_path, n_buckets=16).check_layout()
        for _ in range(2):
            with pytest.raises(LayoutError) as refused:
                opened(tmp_path, n_buckets=32)
        assert str(refused.value) == (
            f"{tmp_path} has 16 user buckets, and SPOTIFY_DAG_N_BUCKETS says 32. Unset it: a data root remembers its "
            "own number. Or choose another SPOTIFY_DAG_DATA."
        )
        assert json.loads((tmp_path / "layout.json").read_text()) == {"n_buckets": 16}
        opened(tmp_path / "other", n_buckets=32).check_layout()

    def test_a_root_remembers_its_number(self, tmp_path: Path) -> None:
        assert opened(tmp_path).lake.n_buckets == 64
        opened(tmp_path, n_buckets=16).check_layout()
        assert opened(tmp_path).lake.n_buckets == 16

    def test_who_opened_it_before_a_split_notices(self, tmp_path: Path) -> None:
        before = opened(tmp_path)
        before.check_layout()
        assert before.now() is before
        Layout(128, 64).write(tmp_path)
        with pytest.raises(LayoutChangedError, match=r"The 64 user buckets of .* were split into 128 meanwhile"):
            before.check_layout()
        after = before.now()
        assert (after.lake.n_buckets, after.lake.of_origin) == (128, 64)
        after.check_layout()
        assert json.loads((tmp_path / "layout.json").read_text()) == {"n_buckets": 128, "made_with": 64}


class TestGenreTables:
    def test_sources_that_know_genres_come_before_the_table(self, tmp_path: Path) -> None:
        project = opened(tmp_path / "data")
        genres = tmp_path / "genres.csv"
        genres.write_text("name,genres\nAir,electronica\n")
        project.inbox.register_artist_genres(genres)
        ((label, table),) = project.genre_tables()
        assert label is None
        assert table.rows() == [(None, "Air", ["electronica"])]

        listening = tmp_path / "usersha1-artmbid-artname-plays.tsv"
        listening.write_text("a" * 40 + "\tmbid-1\tAir\t5\n")
        project.inbox.register_source("lastfm", {"path": str(listening)})
        assert [label for label, _ in project.genre_tables()] == [None]

        project.inbox.register_source("synthetic", {"users": 10})
        tables = project.genre_tables()
        assert [label for label, _ in tables] == ["source", None]
        assert tables[0][1].columns == tables[1][1].columns == ["artist_id", "artist_name", "genres"]
        assert tables[0][1].height == 635

    def test_a_table_that_is_gone_is_an_error(self, tmp_path: Path) -> None:
        project = opened(tmp_path / "data")
        genres = tmp_path / "genres.csv"
        genres.write_text("name,genres\nAir,electronica\n")
        project.inbox.register_artist_genres(genres)
        genres.unlink()
        with pytest.raises(SourceError, match=f"{genres} does not exist"):
            project.genre_tables()
