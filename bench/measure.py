"""What every bench shares: a fresh process and its cost, facts about the machine, the table and the JSON file.

The process that reports imports nothing heavy: what a child process inherits at its start would count as its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
GIB = 2**30
SAMPLE_SECONDS = 0.1
MUCH = 0.05
"""Share of the machine that other processes may take before a figure is called disturbed."""
LIBRARIES = ("torch", "sentence-transformers", "polars", "deltalake", "dagster")

console = Console(width=110, highlight=False)


@dataclass(frozen=True)
class Cost:
    """What a process cost from its start to its end, imports included."""

    seconds: float
    """Wall clock."""
    cpu_seconds: float
    """Processor time of all its threads, user and system: what waiting for a busy machine does not lengthen."""
    peak_gib: float
    """Most resident memory, in GiB (2**30 bytes): its own high-water mark, or the sum with its children if more."""
    others_share: float
    """Share of all cores' time that went to other processes meanwhile, 0 to 1. Above a few percent there are too many
    seconds, and far too many where threads wait for each other, as torch's do."""


def in_fresh_process(function: Callable[..., Any], *args: Any) -> tuple[Any, Cost]:
    """Call a module-level function in a new interpreter, default settings; return its result and its cost."""
    begun, busy = time.monotonic(), _busy_seconds()
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        _MemorySampler(pool.submit(os.getpid).result()) as sampler,
    ):
        value, cpu_seconds, own_peak_gib = pool.submit(_call, function, args).result()
    seconds = time.monotonic() - begun
    elsewhere = max(0.0, _busy_seconds() - busy - cpu_seconds) / (seconds * (os.cpu_count() or 1))
    return value, Cost(seconds, cpu_seconds, max(own_peak_gib, sampler.peak_gib), elsewhere)


def peak_gib() -> float:
    """Return the high-water mark of this process's resident memory so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB  # Linux counts KiB


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures: processor, memory, versions, date."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": facts.get("model name", "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "avx512_bf16": "avx512_bf16" in facts.get("flags", ""),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "versions": {library: version(library) for library in LIBRARIES},
    }


def describe(facts: dict[str, Any]) -> str:
    """Return `machine` as one line."""
    bf16 = "with" if facts["avx512_bf16"] else "without"
    processor = f"{facts['cores']} cores of {facts['processor']} {bf16} avx512_bf16"
    return f"{facts['date']}, {processor}, {facts['memory_gib']:.0f} GiB"


def print_others(costs: Mapping[str, Cost]) -> None:
    """Print how much of the machine other processes took while each of these ran, with a warning if it was much."""
    shares = ", ".join(f"{name} {cost.others_share:.0%}" for name, cost in costs.items())
    console.print(f"Share of the machine that other processes took: {shares}")
    if any(cost.others_share > MUCH for cost in costs.values()):
        console.print("[yellow]The machine was not quiet: these seconds are too many. Run it again.[/]")


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def write_results(name: str, results: dict[str, Any]) -> None:
    """Write ``bench/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"Written: {path.relative_to(RESULTS.parents[1])}\n")


def read_results(name: str) -> dict[str, Any] | None:
    """Return what a bench wrote, or None where it has not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def run(name: str, about: str, measure: Callable[..., dict[str, Any]], **options: tuple[type, str]) -> dict[str, Any]:
    """Be the command line of a bench: read it, say what is measured and where, measure, write and return the figures.

    Parameters
    ----------
    name
        Of the file of results; those of smaller sizes get ``_quick`` behind it.
    about
        The description of the bench, whose first line is its title.
    measure
        Called with ``quick``, whether sizes are to be smaller, and with ``options``; prints and returns the figures.
    options
        Further options of the command line, None where they are not given: of what type and what for.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, to see that everything works")
    for option, (kind, what) in options.items():
        parser.add_argument(f"--{option}", type=kind, help=what)
    given = vars(parser.parse_args())
    facts = machine()
    console.print(f"[bold]{about.splitlines()[0]}[/]\n{describe(facts)}")
    results = {"machine": facts, **measure(**given)}
    write_results(name + "_quick" * given["quick"], results)
    return results


def _busy_seconds() -> float:
    """Return the seconds all cores have been busy since the machine started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float, float]:
    for name in [name for name in os.environ if name.startswith("SPOTIFY_DAG_") or name == "DAGSTER_HOME"]:
        del os.environ[name]
    value = function(*args)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return value, used.ru_utime + used.ru_stime, peak_gib()


class _MemorySampler(threading.Thread):
    """Watches the resident memory of a process and its descendants; pages they share count once each."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak_gib = 0.0
        self._done = threading.Event()

    def __enter__(self) -> _MemorySampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._done.wait(SAMPLE_SECONDS):
            self.peak_gib = max(self.peak_gib, _resident_bytes(self.process) / GIB)


def _resident_bytes(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = [
            int(child)
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):  # it ended between two looks
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident_bytes(child) for child in children)
