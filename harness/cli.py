"""The `harness` command: finds a subcommand, prints its errors and chooses the exit code.

A subcommand's module is imported only when it is called, so that `harness --help` answers at once.

Exit codes: 0 success; 1 the work failed; 2 the request was wrong; 130 Ctrl-C; 143 SIGTERM; 129 the terminal was closed.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType, TracebackType
from typing import NoReturn, TextIO, cast

import click

from harness import machine
from harness.errors import HarnessError, Terminated, suggestion
from harness.paths import private_files
from harness.surroundings import environment, prepare
from harness.terminal import printing
from harness.text import CleanStream, clean
from harness.tracking.access import shown_uri

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("harness.commands.train", "Train one model and track the run."),
    "sweep": ("harness.commands.sweep", "Train a grid of settings and compare the runs."),
    "search": ("harness.commands.search", "Search for settings with a small gap, within a budget."),
    "join": ("harness.commands.join", "Help to train a sweep, from this machine or another."),
    "compare": ("harness.commands.compare", "Show runs side by side, ranked by overfitting gap."),
    "report": ("harness.commands.report", "Write a sweep's report: one page with all findings."),
    "figures": ("harness.commands.figures", "Draw figures of a run or a sweep, for the screen or for a paper."),
    "guides": ("harness.commands.guides", "Train the models of the five guides, and compare."),
    "studies": ("harness.commands.studies", "Train studies of known results, and say which were found."),
    "reproduce": ("harness.commands.reproduce", "Train a recorded run again and compare, bit for bit."),
    "predict": ("harness.commands.predict", "Predict images with a trained model."),
    "inspect": ("harness.commands.inspect", "Show the layers of a trained model and their outputs."),
    "export": ("harness.commands.export", "Write a run's model as a Keras file or a SavedModel."),
    "register": ("harness.commands.register", "Add a run's model to MLflow's model registry."),
    "sync": ("harness.commands.sync", "Upload results that were spooled while the store was down."),
    "list": ("harness.commands.list", "List sweeps and runs, with their sizes."),
    "tag": ("harness.commands.tag", "Give a run tags of your own."),
    "delete": ("harness.commands.delete", "Delete runs and sweeps, with all their files."),
    "gc": ("harness.commands.gc", "Delete files that belong to no run."),
    "store": ("harness.commands.store", "Repair the store after it was moved or copied."),
    "data": ("harness.commands.data", "List, fetch, verify, show and describe the datasets."),
    "ui": ("harness.commands.ui", "Open the MLflow UI on the project's store."),
}
"""The module of each subcommand (its click command is named `command`), and its line in `harness --help`."""

INTERRUPTED = 130
KEPT = frozenset({
    "train", "sweep", "search", "join", "figures", "guides", "studies", "reproduce", "report", "export", "register",
    "sync", "store", "delete", "tag", "gc",
})  # fmt: skip
"""Commands whose results are stored. The others only print, so they have failed if stdout cannot be written."""


class LazyGroup(click.Group):
    """A click group of `COMMANDS` that only imports the module of the command that it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = suggestion(args[0], COMMANDS)
            ctx.fail(f"there is no command '{args[0]}'. The commands are {', '.join(COMMANDS)}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Tab completion: eval "$(harness -sc install=bash)", for zsh too; fish: harness -sc install=fish | source',
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error (allowed anywhere).")
@click.version_option(package_name="overfitting-harness", prog_name="harness")
def group() -> None:
    """Train small image classifiers, track the runs in MLflow and compare them by how much they overfit.

    train and sweep take Hydra's overrides and flags: harness train model=cnn optimizer.learning_rate=0.01
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit code. Exceptions of bugs are not caught."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    # TensorFlow reads it at import. 2 shows errors, but not the messages about its build and the processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.excepthook = _print_traceback
    with printing() as streams:
        code = _carry_out(arguments, debug)
        if (lost := streams.lost()) is None:
            return code
        if KEPT.intersection(arguments[:1]):
            click.echo(
                f"Some output could not be printed ({lost.strerror}). Recorded and written results are complete.",
                err=True,
            )
            return code
        _print_error(f"The output could not be written: {lost.strerror}.")
        return code or 1


def _carry_out(arguments: list[str], debug: bool) -> int:
    """Run one command line and print expected errors. Returns the exit code."""
    try:
        debugging = {"HYDRA_FULL_ERROR": "1", "HARNESS_DEBUG": "1"} if debug else {}  # for Hydra and for workers
        with _signals_raise(), environment(**debugging), _clean_streams(), private_files():
            prepare()
            return _dispatch(arguments)
    except HarnessError as error:
        if debug:
            _print_traceback(type(error), error, error.__traceback__)
        _print_error(str(error))
        return error.exit_code
    except click.ClickException as error:
        message = io.StringIO()
        error.show(message)
        click.echo(clean(shown_uri(message.getvalue()), lines=True), nl=False, err=True)
        return error.exit_code
    except Terminated as end:
        return end.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] in (["-sc"], ["--shell-completion"]):
        from harness.commands.completion import shell_completion

        return shell_completion(group, arguments)
    try:
        result = group.main(arguments, prog_name="harness", standalone_mode=False)
    except click.Abort as abort:
        # click replaces an interrupt with its own exception, but the exit code depends on the signal.
        raise (abort.__cause__ or KeyboardInterrupt()) from None
    return result if isinstance(result, int) else 0


def _print_error(message: str) -> None:
    colour = False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None
    click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=colour)
    click.echo(clean(shown_uri(message), lines=True), err=True, color=colour)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, without passwords in the addresses of stores."""
    sys.stderr.write(clean(shown_uri("".join(traceback.format_exception(kind, error, trace))), lines=True))


@contextmanager
def _clean_streams() -> Iterator[None]:
    """Clean all output, because it may contain text that others wrote in stores and files; see `CleanStream`."""
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, CleanStream(stream)) for stream in usual)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = usual


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Make SIGTERM and SIGHUP (a closed terminal) unwind the stack as Ctrl-C does, so that a run records its end.

    If the command was started with SIGHUP ignored (`nohup`), SIGHUP stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raising: dict[signal.Signals, Callable[[int, FrameType | None], NoReturn]] = {
        signal.SIGTERM: _raise_terminated,
        signal.SIGHUP: partial(_hang_up, tuple(filter(os.isatty, (1, 2)))),
    }
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del raising[signal.SIGHUP]
    previous = {number: signal.signal(number, handler) for number, handler in raising.items()}
    try:
        yield
    finally:
        machine.received_signal = 0
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
    machine.received_signal = number
    raise Terminated(number)


def _hang_up(terminals: Sequence[int], number: int, frame: FrameType | None) -> NoReturn:
    """The terminal is gone: ignore more SIGHUPs, discard further output (writing would fail) and unwind the stack.

    Both the shell and the system may send SIGHUP.
    """
    machine.received_signal = number
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(null, descriptor)
    os.close(null)
    raise Terminated(number)
