"""Two nodes of Ray on this machine, as two machines would be: each has its own address, cores and environment."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from spotify_dag_tests.scenarios.servers import free_port
from spotify_dag_tests.waiting import until

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
"""Addresses of loopback. At 127.0.0.1 Ray takes no jobs."""
CORES = 2
"""Cores of each node."""
LEAST_OBJECT_STORE = 80_000_000
"""Bytes: the smallest that Ray takes. Nothing is put into it."""


RUN = re.compile(r'run_id": "([0-9a-f-]{36})"')
"""What names a run among the arguments of its process."""


class RayNodes:
    """A head and another node, in processes that end with `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.dashboard = folder, free_port(), free_port()
        self.variables = {
            "RAY_ADDRESS": f"http://{HEAD}:{self.dashboard}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        """What a client of the cluster needs."""
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, variables: dict[str, dict[str, str]]) -> None:
        """Start both nodes, each with variables of its own, which the runs on it inherit."""
        head = (
            "--head", "--port", self.port, "--dashboard-host", HEAD, "--dashboard-port", self.dashboard,
            "--ray-client-server-port", free_port(), "--temp-dir", self.folder / "ray",
        )  # fmt: skip
        self._node(HEAD, variables[HEAD], *head)
        until(lambda: self._nodes_alive() == 1)
        self._node(OTHER, variables[OTHER], "--address", f"{HEAD}:{self.port}")
        until(lambda: self._nodes_alive() == 2)

    def _node(self, address: str, variables: dict[str, str], *arguments: object) -> None:
        programs = Path(sys.executable).parent  # a run is started by the name of its program
        command = [
            programs / "ray", "start", "--block", "--disable-usage-stats",
            "--node-ip-address", address, "--num-cpus", CORES, "--object-store-memory", LEAST_OBJECT_STORE,
            "--dashboard-agent-listen-port", free_port(), *arguments,
        ]  # fmt: skip
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **variables, **self.variables, "PATH": path}
        del environment["RAY_ADDRESS"]  # a node is not a client
        with (self.folder / f"{address}.log").open("wb") as log:
            self._nodes[address] = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=log)

    def _nodes_alive(self) -> int:
        """Return how many nodes the head knows of, 0 before it answers."""
        for address, node in self._nodes.items():
            assert node.poll() is None, (self.folder / f"{address}.log").read_text()
        url = f"{self.variables['RAY_ADDRESS']}/nodes?view=summary"
        asked = Request(url, headers={"Authorization": f"Bearer {self.variables['RAY_AUTH_TOKEN']}"})
        try:
            with urlopen(asked, timeout=5) as answer:
                return answer.read().count(b'"state": "ALIVE"')
        except OSError:
            return 0

    def runs_on(self, address: str) -> set[str]:
        """Return the ids of the runs of Dagster that a node executes."""
        commands = [" ".join(child.cmdline()) for child in self._children(address)]
        return {run for command in commands if "execute_run" in command for run in RUN.findall(command)}

    def kill(self, address: str) -> None:
        """Kill a node as a power cut does: its raylet, and all that it has started."""
        for process in self._children(address):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _children(self, address: str) -> list[psutil.Process]:
        node = self._nodes[address]
        return psutil.Process(node.pid).children(recursive=True) if node.poll() is None else []

    def stop(self) -> None:
        """End all processes."""
        for address, node in reversed(self._nodes.items()):
            self.kill(address)
            node.kill()
            node.wait()
