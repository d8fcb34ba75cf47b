"""Damaged files cost the damaged rows and nothing else; ``bench.exports`` reads ten times as many."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from samples.damaged_exports import READERS, corpora, faults, mutants, whole
from samples.export_files import play
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.export.salvage import objects

pytestmark = pytest.mark.medium

LIMIT_MIB = 300


def test_whole_files_are_read_whole(tmp_path: Path) -> None:
    for corpus in corpora():
        assert faults(whole(corpus), tmp_path) == set()
        assert len(corpus.good(corpus.content)) == (60 if corpus.rows else 0)
    assert {corpus.reader for corpus in corpora()} == set(READERS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_mutants(tmp_path: Path, seed: int) -> None:
    for number, mutant in enumerate(mutants(seed, 85)):
        assert faults(mutant, tmp_path) == set(), f"mutant {number} of {mutant.corpus.name}"


def test_a_parser_of_the_whole_text_would_lose_rows() -> None:
    """The mutants are damaged where it matters, and good rows are asked for in them."""
    broken = good = 0
    for mutant in mutants(0, 85):
        if mutant.corpus.name.endswith(".json"):
            try:
                json.loads(mutant.content)
            except (ValueError, RecursionError):
                broken += 1
                good += len(mutant.good)
    assert broken > 12
    assert good > 400


STRANGE = {
    "a text's title": "{}",
    "a word": "Track Name,Artist Name(s)\n\xe9 {}",
    "tracks in XSPF": "<?xml version='1.0'?><playlist><trackList><track>{}",
    "objects in JSON": '{{"playlist":{{"title":"t","track":[{{"title":"a","creator":"b"}},{}',
    "artists": 'Track Name,Artist Name(s)\na,"b, c"\na,"{}',
}


@pytest.mark.parametrize("head", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("token", ["<track>", '<meta rel="a">', '{"a":', "a", "\xe9", ", a"])
def test_the_work_grows_with_the_length_of_a_strange_file(head: str, token: str, tmp_path: Path) -> None:
    """Four times the length is four times the work, and not sixteen: such a file held the app for minutes."""
    file = tmp_path / "strange.txt"

    def seconds(characters: int) -> float:
        file.write_text(head.format(token * (characters // len(token))), encoding="latin-1")
        start = time.process_time()
        with suppress(SourceError):
            sum(1 for _ in Reading(file, "export-anna").frames())
        return time.process_time() - start

    short = seconds(10_000)
    assert seconds(40_000) < 8 * short + 0.5


def test_the_work_grows_with_the_number_of_damaged_objects() -> None:
    """An error of JSON counts the lines before it."""

    def seconds(number: int) -> float:
        start = time.process_time()
        assert sum(1 for _ in objects(io.BytesIO(b"{" * number), lambda _: True)) == number - 1
        return time.process_time() - start

    assert seconds(200_000) < 6 * seconds(50_000) + 0.5


def test_names_of_files_may_be_long(tmp_path: Path) -> None:
    """As long as an archive lets them be: each expression that looks at names would try every beginning."""
    archive = tmp_path / "strange.zip"

    def seconds(name: str) -> float:
        with zipfile.ZipFile(archive, "w") as files:
            for number in range(20):
                files.writestr(f"{number}{name}", f"Track Name,Artist Name(s)\na,{number}\n")
        start = time.process_time()
        rows = pl.concat(Reading(archive, "export-anna").frames())
        assert rows["track_name"].drop_nulls().len() == 20
        return time.process_time() - start

    short = seconds("follow ")
    assert seconds("follow " * 9_000) < 2 * short + 2


def test_objects_that_are_not_looked_for_cost_nothing_good(tmp_path: Path) -> None:
    file = tmp_path / "Apple Music Library Tracks.json"
    others = [{"Track Identifier": number, "Title": f"film {number}"} for number in range(6_000)]
    songs = [{"Track Identifier": number, "Title": f"song {number}", "Artist": "Miles"} for number in range(10)]
    file.write_text(json.dumps([*others, *songs]))
    rows = pl.concat(Reading(file, "export-anna").frames())
    assert rows["track_name"].drop_nulls().to_list() == [f"song {number}" for number in range(10)]


@pytest.mark.process
def test_a_long_history_needs_little_memory(tmp_path: Path) -> None:
    """The growth of memory with the length of a file, seen at 40 MiB; ``bench.exports`` reads 1 GiB."""
    file = tmp_path / "Streaming_History_Audio_2021_0.json"
    block = ",".join(json.dumps(play(n % 5_000, n)) for n in range(20_000))
    with file.open("w") as stream:
        stream.write("[" + block)
        while stream.tell() < 40 << 20:
            stream.write("," + block)
        stream.write("]")
    code = (
        "import sys; from pathlib import Path; from spotify_dag.sources.export.reading import Reading\n"
        "reading = Reading(Path(sys.argv[1]), 'export-anna')\n"
        "for _ in reading.frames(): pass\n"
        # Not ru_maxrss: that begins with what the process that started this one held.
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(reading.plays, peak)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    plays, kib = map(int, done.stdout.split())
    assert plays == 20_000  # The rest are the same plays again.
    assert kib / 1024 < LIMIT_MIB
