"""What another process does with a login: apart from its test, which imports what takes such a process seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from multiprocessing import SimpleQueue

from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.tokens import Tokens


def use_login(settings: Settings, user: str, found: SimpleQueue[str]) -> None:
    """Ask for the token of a user eight times, four at once, and put it into ``found``."""
    tokens = Tokens(settings)
    with ThreadPoolExecutor(4) as pool:
        (token,) = set(pool.map(lambda _: tokens.access_token(user), range(8)))
    found.put(token)
