"""Files of a data root, beside processes that change them."""

from __future__ import annotations

import shutil
from pathlib import Path

from spotify_dag.files import paths_below


def test_everything_below_a_folder_and_nothing_that_goes_meanwhile(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "inside").mkdir(parents=True)
        (tmp_path / name / "inside" / "file").touch()
    assert set(paths_below(tmp_path)) == set(tmp_path.rglob("*"))
    walked = paths_below(tmp_path)
    seen = [next(walked)]
    shutil.rmtree(tmp_path / "b")
    seen += walked
    assert {tmp_path / "a" / "inside" / "file", tmp_path / "c" / "inside" / "file"} <= set(seen)
    assert tmp_path / "b" / "inside" not in seen
    assert list(paths_below(tmp_path / "b")) == []
