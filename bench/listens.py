"""Open listening: a dump to user embeddings, a simulated ListenBrainz read by 4 processes, weights given away.

The dumps are drawn over the generated world in the format of the real ones, month by month. The simulator runs in this
process, every reader in one of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import GIB, console, in_fresh_process, peak_gib, print_others, print_table, run
from bench.pipeline import register, register_world, run_stages

NAME = "listens"
DUMP_USERS = 10_000
LISTENS, FEWER_LISTENS = 20_000_000, 5_000_000
QUICK_SHARE = 50
"""Quick sizes are so many times smaller."""
LIMIT_GIB, LIMIT_LISTENS_PER_SECOND = 4.0, 100_000
KILLS = 4
SERVICE_USERS, SERVICE_PROCESSES, SERVICE_LISTENS, FAULT_RATE = 300, 4, 800, 0.15
GIVING_USERS, BASE_USERS, FEW_USERS = 5_000, 5_000, 50
SEED = 1
LARGEST_LOSS = 0.03
"""Of MRR, against a tower of a base's own users."""


def measure(quick: bool, part: str | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    parts = {"dump": partial(dump, quick), "service": partial(service, quick), "weights": partial(weights, quick)}
    results = {}
    for name, measured in parts.items():
        if part in (None, name):
            results[name] = measured()
            print_table(name, ("", "Value"), [(key, _shown(value)) for key, value in results[name].items()])
    return results


def _shown(value: Any) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def dump(quick: bool) -> dict[str, Any]:
    """Bring two dumps, one four times as large, to user embeddings; read the larger one again, killed on the way."""
    share = QUICK_SHARE if quick else 1
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-", dir=os.environ.get("TMPDIR")) as folder:
        for name, listens in (("fewer", FEWER_LISTENS), ("all", LISTENS)):
            root = Path(folder)
            console.print(f"{name}: writing a dump …")
            path = root / f"listenbrainz-listens-dump-{len(name)}-20260101-000003-full.tar.zst"
            written, _ = in_fresh_process(write, path, DUMP_USERS // share, listens // share)
            read, cost = in_fresh_process(read_alone, path, root / f"base-{name}")
            (root / name).mkdir()
            in_fresh_process(register, root / name, "listenbrainz-dump", {"path": str(path)}, genres_of_world(root))
            stages, whole = in_fresh_process(run_stages, root / name, "features")
            print_others({f"{name}, read": cost, f"{name}, to embeddings": whole})
            seconds = sum(stage["seconds"] for stage in stages)
            results |= {
                f"{name}: listens": written, f"{name}: dump, GiB": path.stat().st_size / GIB,
                f"{name}: listens per second, read alone": written / read["seconds"],
                f"{name}: peak GiB, read alone": cost.peak_gib,
                f"{name}: seconds to user embeddings": seconds,
                f"{name}: listens per second to user embeddings": written / seconds,
                f"{name}: CPU seconds to user embeddings": whole.cpu_seconds,
                f"{name}: peak GiB to user embeddings": whole.peak_gib,
            }  # fmt: skip
            if name == "fewer":
                results["kills"], same = killed(path, root / "base-killed", read)
                results["same rows after kills"] = same
            path.unlink()
    results["within limits"] = (
        results["all: peak GiB to user embeddings"] <= LIMIT_GIB
        and results["all: listens per second to user embeddings"] >= LIMIT_LISTENS_PER_SECOND
    )
    return results


def genres_of_world(root: Path) -> Path:
    """Write the genres of the world's artists as a table; return its path."""
    from spotify_dag.sources.synthetic import SyntheticSource

    path = root / "genres.parquet"
    SyntheticSource(users=1).artist_genres().write_parquet(path)
    return path


def write(path: Path, users: int, listens: int) -> int:
    """Write a dump of drawn users; return its listens."""
    from samples.listen_dumps import write_dump
    from spotify_dag.simulator.listening import Listening
    from spotify_dag.simulator.world import World

    listening = Listening(World(users=users, seed=SEED, playlists=5, tracks=50), listens // users)
    return write_dump(path, listening, range(users), level=1)


def read_alone(path: Path, data: Path) -> dict[str, Any]:
    """Read a dump without the graph; return seconds and a digest of the rows."""
    from spotify_dag.settings import Settings
    from spotify_dag.sources.listenbrainz.dump import ListenBrainzDump

    begun, rows, digest = time.monotonic(), 0, 0
    for batch in ListenBrainzDump(path, Settings(data=data)).batches():
        rows += batch.records.height
        digest ^= int(batch.records.hash_rows().sum() or 0)
    return {"seconds": time.monotonic() - begun, "rows": rows, "digest": digest, "peak_gib": peak_gib()}


def killed(path: Path, data: Path, whole: dict[str, Any]) -> tuple[int, bool]:
    """Read a dump, killed a few times on the way; return how often, and whether the same rows come out."""
    spawn = multiprocessing.get_context("spawn")
    kills = 0
    for number in range(1, KILLS + 1):
        process = spawn.Process(target=read_alone, args=(path, data))
        process.start()
        process.join(3 + whole["seconds"] * number / (2 * KILLS))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            kills += 1
    again, _ = in_fresh_process(read_alone, path, data)
    return kills, (again["rows"], again["digest"]) == (whole["rows"], whole["digest"])


def service(quick: bool) -> dict[str, Any]:
    """Read users of a simulated ListenBrainz in several processes at once, with faults and limits that run out."""
    from spotify_dag.simulator.faults_and_limits import RATE_KINDS, Faults, SimulatorSettings
    from spotify_dag.simulator.loopback_server import serve
    from spotify_dag.simulator.wire import Traffic

    users = SERVICE_USERS // (10 if quick else 1)
    rates: dict[str, Any] = dict.fromkeys(RATE_KINDS, FAULT_RATE / len(RATE_KINDS))
    faults = Faults.model_validate({**rates, "retry_after": 2, "long_retry_after": 3, "drip_seconds": 1.0})
    settings = SimulatorSettings(
        users=users, playlists=2, tracks=20, listens=SERVICE_LISTENS, listenbrainz_requests=100,
        listenbrainz_window=5.0, faults=faults,
    )  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    with serve(settings) as simulator, tempfile.TemporaryDirectory() as folder:
        listening, asked = simulator.api.listening, time.time()
        listed = Path(folder) / "users.txt"
        listed.write_text("\n".join(listening.world.user_id(number) for number in range(users)))
        arguments = (simulator.url, Path(folder) / "data", listed, asked)
        begun = time.monotonic()
        processes = [spawn.Process(target=read_to_its_end, args=arguments) for _ in range(SERVICE_PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        seconds, traffic = time.monotonic() - begun, simulator.api.wire.traffic
        assert all(process.exitcode == 0 for process in processes), "a reader failed"
        simulator.api.wire.faults, simulator.api.wire.traffic = Faults(), Traffic()
        plays = read_plays(*arguments)
        expected = {
            f"listenbrainz-{listening.world.user_id(number)}": expected_plays(listening, number)
            for number in range(users)
        }
        simulator.api.wire.traffic = Traffic()
        read_plays(*arguments[:3], time.time())
        steady = simulator.api.wire.traffic.urls.total()
    return {
        "users": users, "processes": SERVICE_PROCESSES, "seconds": seconds, "requests": traffic.urls.total(),
        "faults": traffic.faults.total(), "429 for a limit": traffic.statuses[429] - sum(
            traffic.faults[kind] for kind in RATE_KINDS[:4]
        ),
        "requests sent while forbidden": traffic.forbidden, "complete, nothing doubled": plays == expected,
        "requests of a second read": steady,
    }  # fmt: skip


def expected_plays(listening: Any, number: int) -> int:
    """Return the plays of a user but for tracks by the names of one that they hate."""
    artist, names = listening.world.tracks.artist, listening.world.tracks.names
    hated = {(artist[track], names[track]) for track in listening.feedback(number, -1)}
    counted = zip(*listening.counts(number), strict=True)
    return sum(int(count) for track, count in counted if (artist[track], names[track]) not in hated)


def read_to_its_end(url: str, data: Path, listed: Path, asked: float) -> None:
    """Read the users of a list until nothing interrupts it."""
    from spotify_dag.sources.base import ResumeLaterError

    while True:
        try:
            read_plays(url, data, listed, asked)
            return
        except ResumeLaterError as error:
            time.sleep(max(0.0, error.at - time.time()))


def read_plays(url: str, data: Path, listed: Path, asked: float) -> dict[str, int]:
    """Read the users of a list; return the plays of each."""
    import polars as pl

    from spotify_dag.settings import Settings
    from spotify_dag.sources.listenbrainz import ListenBrainzSource

    settings = Settings(data=data, listenbrainz_api_url=url)
    plays: dict[str, int] = {}
    for batch in ListenBrainzSource(settings, str(listed), asked).batches():
        listens = batch.records.filter(batch.records["playlist_id"] == "listens")
        plays |= dict(listens.group_by("user_id").agg(pl.col("plays").sum()).iter_rows())
    return plays


def weights(quick: bool) -> dict[str, Any]:
    """Train on a drawn ListenBrainz, give the weights away, import them, and compare them with a base's own tower.

    They are imported into a base of the first users of the large base, who choose the mix. Others are asked.
    """
    share = QUICK_SHARE // 5 if quick else 1
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        giving, base, few = root / "giving", root / "base", root / "few"
        path = root / "listenbrainz-listens-dump-1-20260101-000003-full.tar.zst"
        in_fresh_process(write, path, GIVING_USERS // share, 300 * GIVING_USERS // share)
        giving.mkdir()
        steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            (register, (giving, "listenbrainz-dump", {"path": str(path)}, genres_of_world(root))),
            (run_stages, (giving, "train")),
            (register_world, (base, BASE_USERS // share, 5, 50)),
            (run_stages, (base, "train")),
            (register_world, (few, FEW_USERS, 5, 50)),
            (run_stages, (few, "features")),
        ]
        for function, arguments in steps:
            in_fresh_process(function, *arguments)
        found, _ = in_fresh_process(compare_models, giving, base, few, root / "shared")
    return found


def compare_models(giving: Path, base: Path, few: Path, folder: Path) -> dict[str, Any]:
    """Return how well users of a base find their other halves by its own tower, and by one that was given away.

    The latter as it was given, and as it was imported into the base ``few``.
    """
    import numpy as np

    from spotify_dag.cli.models import import_shared, shared
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings
    from spotify_dag.stores.shared_weights import read_shared, write_shared
    from spotify_dag.tower.evaluation import dataset, held_out
    from spotify_dag.tower.evaluation import measure as measured
    from spotify_dag.tower.user_baselines import encoders
    from spotify_dag.training_data.listening import training_users

    giver, own, taker = (Project.open(Settings(data=data)) for data in (giving, base, few))
    version = giver.registry.latest() or ""
    write_shared(str(folder), *shared(giver, version))
    given, card = read_shared(str(folder))
    imported, choice = import_shared(taker, str(folder))
    users = training_users(own)
    data_set = dataset(users, halvings=(), friends=np.empty((0, 2), np.int64), seed=0)
    others = ~users.users["user_id"].is_in(training_users(taker).users["user_id"].implode()).to_numpy()
    test = np.intersect1d(np.flatnonzero(held_out(users.users["user_id"].to_list()) & others), data_set.usable)
    models = {
        "own tower": own.registry.load(own.registry.latest() or ""),
        "weights as trained": giver.registry.load(version),
        "weights as given away": given,
        "weights as imported": taker.registry.load(imported),
    }
    rows = {name: measured(data_set, encoders(model, data_set.catalogue), test) for name, model in models.items()}
    return {
        "users of the base": users.users.height, "users asked": len(test), "groups": card["groups"],
        "users who chose the mix": choice.users, "mix as given": str(given.tower.mix),
        "mix as imported": str(choice.model.tower.mix),
        **{f"MRR, {name}": row["mrr"] for name, row in rows.items()},
        **{f"NDCG@20, {name}": row["neighbour_ndcg@20"] for name, row in rows.items()},
        "within limits": rows["weights as imported"]["mrr"] >= rows["own tower"]["mrr"] - LARGEST_LOSS,
    }  # fmt: skip


if __name__ == "__main__":
    run(NAME, __doc__ or "", measure, part=(str, "only this part: dump, service or weights"))
