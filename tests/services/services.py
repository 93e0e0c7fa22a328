"""A PostgreSQL and an MLflow server with users, as docs/server.md describes them; each can be stopped and started."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.tracking.servers import HOST, LOG, OPENER, free_port, start, stop, wait_for

ADMIN, PASSWORD = "admin", "a-long-password"
USERS = ("ann", "ben")
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/basic_auth.db
admin_username = admin
admin_password = {password}
auth_cache_ttl_seconds = 60
"""


def binary(name: str) -> str:
    """A program of PostgreSQL: that on PATH, or the newest of Debian's."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda file: float(file.parts[-3]))
    program = shutil.which(name) or (str(found[-1]) if found else None)
    assert program is not None, f"There is no {name} of PostgreSQL here: `make test-services` installs it."
    return program


class Postgres:
    """A database of its own. It does not run as root: then it belongs to the user postgres, or else nobody."""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
        self.uri = f"postgresql://mlflow@{HOST}:{self.port}/mlflow"
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            users = {one.pw_name: one for one in pwd.getpwall()}
            user = users.get("postgres") or users["nobody"]
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        new = [binary("initdb"), "-D", "data", "-U", "mlflow", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        subprocess.run(new, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, **self._as)
        self.start()
        self.execute("CREATE DATABASE mlflow", "postgres")

    def start(self) -> None:
        options = ("fsync=off", f"listen_addresses={HOST}", "unix_socket_directories=")
        command = [binary("postgres"), "-D", "data", "-p", str(self.port)]
        self._process = subprocess.Popen(
            [*command, *(word for option in options for word in ("-c", option))],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.execute("SELECT 1", "postgres")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def stop(self) -> None:
        """End it, with the connections to it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def execute(self, statement: str, database: str = "mlflow") -> None:
        with closing(psycopg.connect(self.uri.rpartition("/")[0] + f"/{database}", autocommit=True)) as connection:
            connection.execute(statement.encode())


class Server:
    """An MLflow server with basic auth on a database."""

    def __init__(self, folder: Path, database: Postgres) -> None:
        self.folder, self.port, self.database = folder, free_port(), database
        self.uri = f"http://{HOST}:{self.port}"
        (folder / "auth.ini").write_text(AUTH.format(folder=folder, password=PASSWORD))
        self.start()

    def start(self) -> None:
        words = ["server", "--workers", "1", "--app-name", "basic-auth", "--backend-store-uri", self.database.uri]
        environment = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret of these tests",
        }
        words += ["--artifacts-destination", str(self.folder / "kept")]
        self._process = start(words, self.folder, environment, self.port)
        wait_for(self._process, f"{self.uri}/health", self.folder / LOG)

    def stop(self) -> None:
        stop(self._process)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait(30)

    def signal(self, number: int) -> None:
        os.killpg(self._process.pid, number)

    def add_user(self, name: str) -> None:
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/users/create",
            json.dumps({"username": name, "password": PASSWORD}).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Basic {b64encode(f'{ADMIN}:{PASSWORD}'.encode()).decode()}",
            },
        )
        with OPENER.open(request, timeout=30):
            pass


def login(name: str) -> dict[str, str]:
    """The environment of a user."""
    return {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@contextmanager
def running_service(folder: Path) -> Iterator[Server]:
    database = Postgres()
    try:
        server = Server(folder, database)
        try:
            for name in USERS:
                server.add_user(name)
            yield server
        finally:
            server.stop()
    finally:
        database.stop()
        shutil.rmtree(database.folder)
