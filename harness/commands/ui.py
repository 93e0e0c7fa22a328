"""`harness ui`: starts the MLflow UI on the store, for this machine only, until it is stopped."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import click

from harness import paths
from harness.commands.store_option import store_option
from harness.errors import RequestError, StoreError
from harness.sweeps.mlflow_views import show_experiment, show_sweep
from harness.terminal import doing
from harness.tracking.access import shown_uri
from harness.tracking.preflight import check_journal
from harness.tracking.reading import cached_reads, latest_run, latest_sweep
from harness.tracking.relocation import artifact_root
from harness.tracking.store import Store
from harness.tracking.views import run_page, saved_views, sweep_key, view_page

HOST = "127.0.0.1"
START_SECONDS = 120
STOP_SECONDS = 10
LOG_LINES = 20


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port to listen on.")
@store_option
def command(port: int, store: Store) -> int:
    """Open the MLflow UI on the store.

    It listens on this machine only (loopback), and answers only requests with the printed link. Ctrl-C stops it. A
    server has a UI of its own: then the command prints its links, and ends.
    """
    if store.is_server:
        click.echo(f"MLflow UI: {store.shown}")
        for what, page in _pages_of_server(store):
            click.echo(f"{what + ':':<11}{store.shown.rstrip('/')}{page}")
        return 0
    if store.database is not None:
        check_journal(store.database)
    if store.is_missing:
        click.echo("The store is empty so far. `harness train` makes a first run, `make sweep` a first sweep.")
    token = secrets.token_urlsafe(24)
    try:
        with _listening(port) as listener, _running_server(store, listener, token) as (server, log):
            home = f"http://{HOST}:{port}/?token={token}"
            click.echo(f"MLflow UI: {home}")
            for what, page in _pages(store):
                click.echo(f"{what + ':':<11}{home}{page.removeprefix('/')}")
            click.echo(f"store:     {store.shown}")
            click.echo(f"client:    MLFLOW_TRACKING_URI=http://{HOST}:{port} MLFLOW_TRACKING_TOKEN={token}")
            click.echo(
                "Whoever has a link or the token can read, change and delete runs, models and artifacts of this store, "
                "and what MLflow's assistant may do here. Nobody else can."
            )
            click.echo("Ctrl-C stops it.")
            sys.stdout.flush()
            server.wait()
            raise StoreError(f"The MLflow server stopped by itself (exit code {server.returncode}).\n{_tail(log)}")
    except KeyboardInterrupt as interrupt:
        if type(interrupt) is KeyboardInterrupt:  # Ctrl-C is how a person ends it; SIGTERM keeps its own exit code
            return 0
        raise


def _pages(store: Store) -> list[tuple[str, str]]:
    """The pages worth opening, by what they show; the bare address opens MLflow's pages for language models.

    The saved views of the latest experiment and sweep are brought up to date on the way.
    """
    if not store.is_local or store.is_missing:
        return []
    with cached_reads(store):
        return _local_pages(store)


def _pages_of_server(store: Store) -> list[tuple[str, str]]:
    """The pages of the latest run's experiment, the latest sweep and its report. Nothing is written."""
    from harness.reports.saving import PAGE

    with cached_reads(store):
        latest, sweep = latest_run(store), latest_sweep(store)
    pages = [("runs", f"/#/experiments/{latest.experiment_id}/runs?workflowType=machine_learning")] if latest else []
    if sweep is not None:
        page = run_page(sweep.experiment_id, sweep.run_id)
        pages.append(("sweep", page))
        with store.connected() as client:
            files = [file.path for file in client.list_artifacts(sweep.run_id)]
        if PAGE in files:
            pages.append(("report", f"{page}/artifacts/{PAGE}"))
    return pages


def _local_pages(store: Store) -> list[tuple[str, str]]:
    latest, sweep = latest_run(store), latest_sweep(store)
    if latest is None:
        return []
    pages = [("runs", f"/#/experiments/{latest.experiment_id}/runs?workflowType=machine_learning")]
    try:
        show_experiment(store, latest.experiment_id)
        if sweep is not None:
            show_sweep(store, sweep)
    except StoreError as error:
        click.echo(f"The saved views could not be written. {error}", err=True)
    if sweep is not None and (key := sweep_key(sweep.run_id)) in saved_views(store, sweep.experiment_id):
        pages.append(("sweep", view_page(sweep.experiment_id, key)))
    return pages


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """The socket that the server answers on: from here on the port is no other program's."""
    with socket.socket() as listener:
        # A port whose last connections are still fading is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(128)
        except PermissionError:
            raise RequestError(f"--port {port}: ports below 1024 belong to root. Choose a higher one.") from None
        except OSError:
            raise RequestError(
                f"--port {port}: something listens there already, perhaps another `harness ui`. "
                f"Stop it, or choose another port: harness ui --port {port + 1 if port < 65535 else 5001}"
            ) from None
        yield listener


@contextmanager
def _running_server(
    store: Store, listener: socket.socket, token: str
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """An MLflow server that answers, and its log; when the block ends, no process of it is left."""
    if store.is_missing:
        store.make()  # the server would make it too, and leave half of it where it is stopped
    root = paths.project_root()
    root.mkdir(parents=True, exist_ok=True)
    artifacts = artifact_root(store.database) if store.database is not None else paths.default_artifact_directory()
    port = listener.getsockname()[1]
    arguments = [sys.executable, "-P", "-m", "harness.tracking.ui_server", str(listener.fileno())]
    # Neither an argument nor a variable: the store's address may hold a password, and others can read the arguments.
    told = {"token": token, "store": store.uri, "artifacts": str(artifacts)}
    with tempfile.TemporaryFile() as log:  # without a name: nothing stays after `kill -9`
        server = subprocess.Popen(
            arguments,
            cwd=root,  # MLflow makes its folders in the working directory
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,  # the server ends where this does
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that all of it can be stopped
        )
        try:
            assert server.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already: the log says why
                server.stdin.write(json.dumps(told).encode() + b"\n")
                server.stdin.flush()
            _wait_until_it_answers(server, port, token, log)
            yield server, log
        finally:
            _stop(server)


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, token: str, log: IO[bytes]) -> None:
    # A proxy from the environment must not be asked for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(f"http://{HOST}:{port}/health", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + START_SECONDS
    with doing("Starting the MLflow server"):
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise StoreError(f"The MLflow server did not start (exit code {server.returncode}).\n{_tail(log)}")
            try:
                with opener.open(asked, timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
    raise StoreError(f"The MLflow server did not answer within {START_SECONDS} seconds.\n{_tail(log)}")


def _tail(log: IO[bytes]) -> str:
    said = os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)  # the server writes where the file is read to
    lines = shown_uri(said.decode(errors="replace")).splitlines()
    return "\n".join(["The end of its log:", *(f"  {line}" for line in lines[-LOG_LINES:])])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group: politely, then (after ten seconds, or at a second Ctrl-C) by force."""
    try:
        _signal_group(server, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and _signal_group(server, 0):
            server.poll()  # a dead leader that nobody has waited for still counts as a member of its group
            time.sleep(0.05)
    finally:
        _signal_group(server, signal.SIGKILL)
        server.wait()


def _signal_group(server: subprocess.Popen[bytes], number: int) -> bool:
    """Whether the group still had a process that the signal could be sent to (0 only asks)."""
    try:
        os.killpg(server.pid, number)
    except ProcessLookupError:
        return False
    return True
