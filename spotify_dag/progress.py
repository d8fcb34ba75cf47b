"""Progress of long work: bars on a terminal, nothing in a Dagster run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Progress that is not shown."""

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
        """Yield a function to call with the number of steps that were just done, out of ``total``."""
        yield lambda _: None


class TerminalProgress(Progress):
    """A progress bar on standard error, if that is a terminal."""

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
        """Show a bar while the task runs."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        console = Console(file=sys.stderr)
        with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)


class LineProgress(Progress):
    """Progress of long work in lines on standard error, for logs: at the start, every tenth, and at the end."""

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
        """Print lines while the task runs."""
        begun, done, shown = time.monotonic(), 0.0, 0

        def advance(steps: float) -> None:
            nonlocal done, shown
            done += steps
            if total and (tenths := int(10 * done / total)) > shown:
                shown = tenths
                say(f"{done:,.0f} of {total:,}")

        def say(what: str) -> None:
            print(f"{description}: {what}, {time.monotonic() - begun:,.0f} s", file=sys.stderr, flush=True)

        say("begun" if total is None else f"0 of {total:,}")
        yield advance
        say("done")


def watched_progress() -> Progress:
    """Return progress for somebody who waits: bars where standard error is a terminal, else lines."""
    return TerminalProgress() if sys.stderr.isatty() else LineProgress()
