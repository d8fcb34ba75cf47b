"""Servers that tests start for themselves, on free ports of loopback: PostgreSQL, and Ceph, which speaks S3."""

from __future__ import annotations

import hmac
import os
import pwd
import shutil
import socket
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
CEPH = ("monmaptool", "ceph-mon", "ceph", "ceph-osd", "radosgw", "radosgw-admin")
KEY, SECRET = "testkey", "testsecret"
START_SECONDS = 180
# Without "tcp_nodelay" every second answer waits 40 ms for the client to acknowledge the one before.
CEPH_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
[mon.a]
mon data = {folder}/mon
mon addr = 127.0.0.1:{monitor}
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
osd class load list = *
osd class default list = *
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw thread pool size = 64
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Postgres:
    """A server of one's own, in a temporary folder, on a free port of loopback."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self.user, self.port = folder, user, free_port()
        self.url = f"postgresql+psycopg2://dagster@127.0.0.1:{self.port}/postgres"
        self.call("initdb", "--auth=trust", "--username=dagster", "--no-sync", "-D", folder / "data")

    def call(self, program: str, *arguments: object) -> None:
        # It refuses to run as root, who runs tests in a container.
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        done = subprocess.run(
            [PROGRAMS / program, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, check=False,
            **user,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        # Its own log: with a pipe, the call would wait for the server to end.
        self.call("pg_ctl", "start", "-w", "-D", self.folder / "data", "-l", self.folder / "log", "-o", options)

    def stop(self, mode: str) -> None:
        self.call("pg_ctl", "stop", "-w", "-m", mode, "-D", self.folder / "data")


class Ceph:
    """One node of Ceph that keeps everything in memory: a monitor, an object store, and a gateway that speaks S3."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.gateway = folder, free_port()
        self.variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.gateway}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        self._parts: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def missing() -> list[str]:
        return [program for program in CEPH if shutil.which(program) is None]

    def start(self) -> None:
        fsid, monitor = str(uuid4()), free_port()
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        written = CEPH_CONFIGURATION.format(fsid=fsid, monitor=monitor, gateway=self.gateway, folder=self.folder)
        (self.folder / "ceph.conf").write_text(written)
        monmap, osd = self.folder / "monmap", str(uuid4())
        self._call("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"v1:127.0.0.1:{monitor}", monmap)
        self._call("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._run("ceph-mon", "-i", "a")
        self._call("ceph", "--connect-timeout", START_SECONDS, "osd", "new", osd)
        self._call("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=local")
        self._call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        store = self._run("ceph-osd", "-i", "0")
        self._run("radosgw", "-n", "client.rgw")
        self._wait_for_gateway(store)
        user = ("--uid", "test", "--display-name", "test", "--access-key", KEY, "--secret", SECRET)
        self._call("radosgw-admin", "user", "create", *user)

    def _call(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [program, *map(str, arguments)], env={**os.environ, "CEPH_CONF": str(self.folder / "ceph.conf")},
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=START_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [program, "-c", str(self.folder / "ceph.conf"), *arguments, "-f"]
        with (self.folder / f"{program}.out").open("wb") as out:
            part = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=subprocess.STDOUT)
        self._parts.append(part)
        return part

    def _wait_for_gateway(self, store: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            # A monitor that is not ready refuses the store, which then ends: 'wrong fsid'.
            if store.poll() is not None:
                store = self._run("ceph-osd", "-i", "0")
            try:
                socket.create_connection(("127.0.0.1", self.gateway), 1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(
            f"The gateway of Ceph does not answer: {(self.folder / 'radosgw.out').read_text()[-2000:]}"
        )

    def stop(self) -> None:
        for part in reversed(self._parts):
            part.kill()
            part.wait()

    def make_bucket(self, name: str) -> None:
        """Make a bucket: a request without a body to its address, signed as Amazon says (Signature Version 4)."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope, empty = f"{now[:8]}/us-east-1/s3/aws4_request", sha256(b"").hexdigest()
        host = f"127.0.0.1:{self.gateway}"
        headers = f"host:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n"
        signed = "host;x-amz-content-sha256;x-amz-date"
        request = f"PUT\n/{name}\n\n{headers}\n{signed}\n{empty}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        key = f"AWS4{SECRET}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={key.hex()}"
        answer = requests.put(
            f"http://{host}/{name}", timeout=30,
            headers={"Authorization": credential, "x-amz-date": now, "x-amz-content-sha256": empty},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
