"""Starts commands as forks of a server process that has imported TensorFlow and MLflow, which takes five seconds.

`ForkedCommand` is a `Popen` whose process begins like the console script, with its own arguments, environment, folder
and streams, but with the libraries imported already. No library has started threads or devices in it. The first workers
of a sweep begin in the same way. Variables that a library reads at import are those of the tests. So a test about such
variables, or about processes themselves, has the mark `processes`, and its commands are new processes.

Run as a program, this module is the server process.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from harness.machine import MARK_VARIABLE

MESSAGE = 2**18
"""The most bytes for arguments and environment."""
WORKERS = 4
"""The number of a command's workers that are forks; further workers are new processes."""
STARTERS = ("sweep", "search", "join", "guides", "studies")
"""Subcommands that start workers; `compare --confirm` does too."""
LIBRARIES = (
    "jinja2", "matplotlib.backends.backend_agg", "matplotlib.patheffects", "matplotlib.pyplot", "mlflow.pyfunc.model",
    "mlflow.store.tracking.sqlalchemy_workspace_store", "mlflow.tracking.fluent", "pebble",
)  # fmt: skip
"""What commands import late, besides Keras and the harness's own modules."""
READ_LATE = ("COLUMNS", "HARNESS_", "MLFLOW_HTTP_", "MLFLOW_TRACKING_", "TERM", "TMPDIR")
"""Variables (or prefixes of names) that are read when they are needed, and not at import."""
HOST, NEW_NAMESPACE = "HARNESS_TESTS_HOST", 0x04000000
"""The variable with the host name that a command sees, and Linux's flag CLONE_NEWUTS."""
FREE = 500
"""No process here uses file descriptors from this number on."""


class ForkedCommand(subprocess.Popen[str]):
    """A `harness` command with the arguments `args[1:]`. Of Popen's options, `cwd`, `env` and the streams work."""

    def _execute_child(
        self, args: Sequence[str], executable: Any, preexec: Any, close: Any, passed: Any, cwd: Any, env: Any,
        info: Any, flags: Any, shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int,
        errwrite: int, *rest: Any,
    ) -> None:  # fmt: skip
        order = json.dumps(_surroundings(*args, folder=cwd, environment=env or os.environ))
        streams = [given if given != -1 else usual for usual, given in enumerate((p2cread, c2pwrite, errwrite))]
        self._news, news = os.pipe()
        try:
            socket.send_fds(_server()[0], [order.encode()], [*streams, news])
        finally:
            os.close(news)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        number = os.read(self._news, 16)
        assert number, f"the server process has ended: {_server()[1].args}"
        self.pid = int(number)
        self._child_created = True

    def _internal_poll(self, *args: Any, **options: Any) -> int | None:
        return self._outcome(0)

    def _wait(self, timeout: float | None) -> int:
        if (code := self._outcome(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _outcome(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._news], [], [], timeout)[0]:
            self.returncode = int(os.read(self._news, 16))
            os.close(self._news)
        return self.returncode


new_processes = False
"""Whether the commands of the running test are new processes instead of forks; set by conftest.py."""


def popen_class(variables: Iterable[str] = ()) -> type[subprocess.Popen[str]]:
    """The class that starts `harness` with these variables set: a fork, if it would read all of them."""
    late = all(name.startswith(READ_LATE) for name in variables)
    return ForkedCommand if late and not new_processes else subprocess.Popen


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The server process and a socket to it. The server ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # otherwise it could inherit an ignored SIGINT
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env={name: value for name, value in os.environ.items() if name != MARK_VARIABLE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # messages of TensorFlow at its start
    )
    signal.signal(signal.SIGINT, handler)
    theirs.close()
    return ours, process


def _serve(orders: socket.socket) -> None:
    """Fork a command for each order, until the socket is closed. Returns in each command only."""
    started: dict[int, tuple[int, int]] = {}  # by pidfd: the process, and where its number and exit code are written
    while True:
        ready, _, _ = select.select([orders, *started], [], [])
        for ended in started.keys() & set(ready):
            command, news = started.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
            with suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(news, b"%d" % code)
            _close([ended, news])
        if orders not in ready:
            continue
        order, passed, _, _ = socket.recv_fds(orders, MESSAGE, 4)
        if not order:
            os._exit(0)
        *streams, news = passed
        if (command := os.fork()) == 0:
            break
        _close(streams)
        os.write(news, b"%d" % command)
        started[os.pidfd_open(command)] = command, news
    orders.close()
    _close([news, *started, *(other for _, other in started.values())])
    _begin(json.loads(order), dict(zip(range(3), streams, strict=True)))
    if host := os.environ.pop(HOST, None):
        _take_name(host)
    if sys.argv[1] in STARTERS or "--confirm" in sys.argv:
        _offer_workers()


def _take_name(host: str) -> None:
    """Let this process and its children see a machine with this name, as `unshare -u` does; it needs root."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACE) != 0:
        raise OSError(ctypes.get_errno(), "a host name of its own needs root")
    socket.sethostname(host)


def _offer_workers() -> None:
    """Fork waiting child processes, and make `multiprocessing` use them as its first new processes."""
    from multiprocessing import util

    waiting: list[tuple[socket.socket, int]] = []
    for _ in range(WORKERS):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if (number := os.fork()) == 0:
            _close([ours.fileno(), *(other.fileno() for other, _ in waiting)])
            _wait_for_work(theirs)
        theirs.close()
        waiting.append((ours, number))
    started = util.spawnv_passfds

    def start(path: Any, arguments: Sequence[Any], passed: Sequence[int]) -> int:
        *_, code, last = map(os.fsdecode, arguments)
        if last != "--multiprocessing-fork" or not waiting:
            return started(path, arguments, passed)
        ours, number = waiting.pop(0)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        order = {"code": code, "places": [*passed], "blocked": [*blocked], **_surroundings("-c", last)}
        with ours:
            socket.send_fds(ours, [json.dumps(order).encode()], [*passed])
        return number

    util.spawnv_passfds = start


def _wait_for_work(orders: socket.socket) -> NoReturn:
    order, passed, _, _ = socket.recv_fds(orders, MESSAGE, 64)
    if not order:
        os._exit(0)  # the command has ended
    orders.close()
    given = json.loads(order)
    signal.pthread_sigmask(signal.SIG_SETMASK, given["blocked"])
    _begin(given, dict(zip(given["places"], passed, strict=True)))
    _run_and_end(lambda: exec(given["code"], {}))  # as `python -c` would


def _surroundings(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    os.umask(mask := os.umask(0o077))
    return {
        "arguments": arguments, "folder": str(folder or Path.cwd()), "environment": dict(environment), "umask": mask,
    }  # fmt: skip


def _begin(given: Mapping[str, Any], descriptors: Mapping[int, int]) -> None:
    """Take over the arguments, folder, environment, umask and file descriptors that a new process would get."""
    high = {place: fcntl.fcntl(own, fcntl.F_DUPFD_CLOEXEC, FREE) for place, own in descriptors.items()}
    _close(descriptors.values())
    for place, own in high.items():
        os.dup2(own, place)
        os.close(own)
    os.chdir(given["folder"])
    os.umask(given["umask"])
    os.environ.clear()
    os.environ.update(given["environment"])
    tempfile.tempdir = None
    sys.argv = [*given["arguments"]]


def _run_and_end(program: Callable[[], Any]) -> NoReturn:
    """Run a program and end as Python does, but without freeing each object: the memory that is shared with the server
    process would be copied for that."""
    code: Any = 0
    try:
        program()
    except SystemExit as ended:
        code = ended.code or 0
    if not isinstance(code, int):
        sys.exit(code)  # Python prints it
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _load() -> None:
    """Import everything that is slow to import, without starting it."""
    sys.path[0] = str(Path(sys.executable).parent)  # as in the console script
    from harness.surroundings import prepare

    prepare()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import harness
    from harness.tracking.provenance import installed_packages
    from harness.tracking.store import load_mlflow
    from harness.training import startup

    with startup._no_settings_of_keras():
        import keras  # noqa: F401
    load_mlflow()
    from mlflow.utils import requirements_utils

    modules = (module.name for module in pkgutil.walk_packages(harness.__path__, "harness."))
    for name in (*(name for name in modules if name != "harness.__main__"), *LIBRARIES):
        importlib.import_module(name)
    installed_packages()
    requirements_utils._init_modules_to_packages_map()
    _prepare_for_tests()
    gc.collect()
    gc.freeze()


def _prepare_for_tests() -> None:
    """What the tests do to their commands: tables of new stores are copied, and runs wait where a test wants it."""
    sys.path.insert(0, str(Path(__file__).parent))
    import pauses
    import tables
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    del sys.path[0]
    pauses.obey()
    tables.share()
    with tempfile.TemporaryDirectory() as folder:
        SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", folder).engine.dispose()


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    _run_and_end(lambda: runpy.run_path(sys.argv[0], run_name="__main__"))
