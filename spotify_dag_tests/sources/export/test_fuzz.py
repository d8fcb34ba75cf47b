"""Damaged files cost the damaged rows and nothing else; ``bench.exports`` reads ten times as many."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from samples.damaged_exports import READERS, corpora, faults, mutants, whole
from samples.export_files import play

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
