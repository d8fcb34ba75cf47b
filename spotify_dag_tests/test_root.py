"""Places in object storage, by name; what is read and written there is in ``scenarios/test_object_storage.py``."""

from __future__ import annotations

import pickle
from pathlib import PurePosixPath

import pytest

from spotify_dag.root import ObjectPath, RootError


def test_a_place_is_named_as_a_path_is() -> None:
    root = ObjectPath.parse("s3://bucket/team/root/")
    file = root / "lake" / "users" / "user_bucket=3" / "part.zstd.parquet"
    assert str(root) == "s3://bucket/team/root"
    assert str(file) == "s3://bucket/team/root/lake/users/user_bucket=3/part.zstd.parquet"
    assert (file.name, file.stem, file.suffix) == ("part.zstd.parquet", "part.zstd", ".parquet")
    assert file.parent.parent == root / "lake" / "users"
    assert file.relative_to(root) == PurePosixPath("lake/users/user_bucket=3/part.zstd.parquet")
    assert root / "lake" in file.parents
    assert file.with_name("other") == root / "lake" / "users" / "user_bucket=3" / "other"
    assert sorted([root / "b", root / "a"]) == [root / "a", root / "b"]
    assert str(ObjectPath.parse("s3://bucket")) == "s3://bucket"
    assert str(ObjectPath.parse("s3://bucket") / "a") == "s3://bucket/a"


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3://B", "s3://bucket//a", "s3://bucket/a b", "s3://bucket/a%20b", "s3://bucket/../a", "gs://bucket/a",
     "s3://bucket/a?b", "s3://bucket/é", "s3://key:secret@bucket/a"],
)  # fmt: skip
def test_what_is_no_place_is_refused(uri: str) -> None:
    with pytest.raises(RootError, match="s3://BUCKET/PREFIX"):
        ObjectPath.parse(uri)


def test_it_is_no_file_and_does_not_show_the_password_of_its_locks() -> None:
    place = ObjectPath.parse("s3://bucket/root", "postgresql://me:hush@host/db") / "a"
    assert "hush" not in repr(place) + str(place)
    assert pickle.loads(pickle.dumps(place)).locks == "postgresql://me:hush@host/db"
    with pytest.raises(TypeError, match="s3://bucket/root/a is no file of this machine"):
        open(place)  # noqa: SIM115
    with pytest.raises(RootError, match="SPOTIFY_DAG_POSTGRES_URL"):
        ObjectPath.parse("s3://bucket/root").write(b"")
