"""Ask an app for the matches of users at random until told to end, then print how long each request took.

Requests come at moments that have nothing to do with each other, whether or not earlier ones were answered (a Poisson
process), and their time runs from the moment at which they were due. Clients that each wait for an answer would spare
an app that is late. What asks must be cheap: it has the processors of the app. Arguments: address, users, rate.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import aiohttp


async def ask(url: str, users: int, rate: float) -> dict[str, object]:
    """Ask until the process is told to end; return the seconds it took, those of each answer, and the errors."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    seconds: list[float] = []
    errors: list[str] = []

    async def one(session: aiohttp.ClientSession, due: float) -> None:
        user = f"synthetic-{random.randrange(users):06d}"
        try:
            async with session.get(f"{url}/api/v1/users/{user}/matches") as answer:
                await answer.read()
            if answer.status != 200:
                errors.append(f"{user}: status {answer.status}")
        except aiohttp.ClientError as error:
            errors.append(f"{user}: {error}")
        seconds.append(loop.time() - due)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as asking:
        begun = due = loop.time()
        while not ended.is_set():
            due += random.expovariate(rate)
            await asyncio.sleep(max(0, due - loop.time()))
            asking.create_task(one(session, due))
    return {"all": loop.time() - begun, "each": seconds, "errors": errors}


if __name__ == "__main__":
    json.dump(asyncio.run(ask(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))), sys.stdout)
