"""Memory that was freed goes back to the system."""

import subprocess
import sys

import pytest

from spotify_dag.memory import return_freed_memory

# Small blocks, and one above them in use: glibc can shorten its heap only at the end.
KEPT = """
import psutil
from spotify_dag.memory import return_freed_memory
blocks = [bytearray(100_000) for _ in range(2_000)]
last = bytearray(100_000)
held = psutil.Process().memory_info().rss
del blocks
return_freed_memory()
print(held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_what_lies_below_memory_in_use_is_returned() -> None:
    told = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True).stdout
    assert int(told) > 150_000_000


def test_a_library_without_the_function_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    return_freed_memory()
