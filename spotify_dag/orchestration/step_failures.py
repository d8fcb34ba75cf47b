"""How a step ends that cannot go on: again after a while where that helps, at once where it does not.

===============================================  ======================================================================
what went wrong                                  what happens
===============================================  ======================================================================
a source says when it can be read on             the step waits until then (`assets.ingest`); nothing has failed
another writer came first, a database is         the step runs again, `RETRIES` times, after `BACKOFF` seconds and then
locked, a server on the network does not answer  twice as long each time
settings, files or data that a person must mend  the step fails at once, with one line that says what to do
anything else                                    the step fails at once: it would go wrong again in the same way
===============================================  ======================================================================

Spotify's own hiccups never come this far: its client asks again within a call.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import dagster as dg

from spotify_dag.errors import SpotifyDagError

RETRIES = 3
BACKOFF = 5.0
TERMINAL_TAG = "spotify_dag/terminal"
"""Tag of a run that somebody at a terminal waits for, who is told in the program's own words."""

# By name, anywhere among the classes of an error: importing the libraries they belong to takes seconds.
_PASSING = {"CommitFailedError", "ConnectionError", "Timeout", "TimeoutError"}


def resilient(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return an asset's function, a generator or not, that ends as the table above says."""
    if isgeneratorfunction(compute):

        @wraps(compute)
        def computed(context: dg.AssetExecutionContext, *args: Any, **kwargs: Any) -> Any:
            with _ended_well(context):
                yield from compute(context, *args, **kwargs)
    else:

        @wraps(compute)
        def computed(context: dg.AssetExecutionContext, *args: Any, **kwargs: Any) -> Any:
            with _ended_well(context):
                return compute(context, *args, **kwargs)

    return computed


@contextmanager
def _ended_well(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn an error into what Dagster is to do about it."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if passes(error):
            wait = BACKOFF * 2**context.op_execution_context.retry_number * random.uniform(1, 1.5)  # noqa: S311
            context.log.warning("%s: %s. Again in %.0f s.", type(error).__name__, error, wait)
            raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=wait) from error
        if isinstance(error, SpotifyDagError) and TERMINAL_TAG not in context.run.tags:
            raise dg.Failure(str(error), allow_retries=False) from error
        raise


def passes(error: BaseException) -> bool:
    """Return whether an error, or what caused it, may be gone a moment later."""
    if isinstance(error, SpotifyDagError):
        return False
    return any(
        _PASSING & {parent.__name__ for parent in type(cause).__mro__}
        or (type(cause).__name__ == "OperationalError" and "locked" in str(cause))
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
