"""Every failure that the harness expects and can explain.

    HarnessError            the work failed                                exit code 1
    ├── RequestError        the request was wrong; nothing was started     exit code 2
    │   ├── ConfigError     a setting has a wrong name, type or value
    │   ├── NoPicture       a figure shows images, and the data are not pictures
    │   └── UnknownRun      no run answers to what was given
    ├── DataError           a dataset cannot be had or is damaged
    │   ├── NoDataFolder    the folder that is named for it is not there; nothing was started     exit code 2
    │   └── UnusableData    data of the user's own cannot be trained on; nothing was started      exit code 2
    ├── StoreError          the tracking store cannot be used
    │   ├── OutsideStore    a store has artifacts at a location that is not allowed; nothing was started
    │   └── NotInStore      a run was trained, but its results wait in a spool
    ├── TakenOver           another process has resumed the run; this one writes nothing more
    ├── TrainingError       training failed (for example: the loss became NaN)
    └── SweepFailed         some runs of a sweep failed; the others are recorded
    Terminated              SIGTERM or SIGHUP; unwinds the stack as KeyboardInterrupt does (exit code 143 or 129)

The message of an expected error says what was given, what is allowed and what to do. `cli.py` prints it without a
traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches


class HarnessError(Exception):
    """The work failed for a reason that the message explains."""

    exit_code = 1
    lasting = False
    """Whether the same request would certainly fail in the same way again."""


class RequestError(HarnessError):
    """The request is wrong as given; nothing was started."""

    exit_code = 2
    lasting = True


class ConfigError(RequestError):
    """A setting has a wrong name, type, range or combination."""


class UnknownRun(RequestError):
    """No run has this id, name or beginning of an id."""


class NoPicture(RequestError):
    """A figure shows images, and the data are not pictures."""


class DataError(HarnessError):
    """A dataset cannot be found, fetched or trusted."""


class NoDataFolder(DataError):
    """The folder that `dataset.directory` names does not exist."""

    exit_code = 2


class UnusableData(DataError):
    """Data of the user's own is missing, damaged, or nothing that can be trained on."""

    exit_code = 2
    lasting = True


class StoreError(HarnessError):
    """The tracking store cannot be opened, read or written."""


class OutsideStore(StoreError):
    """A store has artifacts outside the allowed locations, or behind a link. Nothing is read or written there."""

    exit_code = 2
    lasting = True


class NotInStore(StoreError):
    """A run was trained to its end, but the store failed. Its results are in a spool, for `harness sync`."""

    lasting = True  # another try would only train it again


class TakenOver(HarnessError):
    """Another process has resumed the run, so this process writes nothing more to it."""

    lasting = True


class TrainingError(HarnessError):
    """Training cannot continue."""

    lasting = True  # the same seed gives the same numbers, and so the same failure


class SweepFailed(HarnessError):
    """A sweep ended with failed runs."""


class Paused(KeyboardInterrupt):
    """A search has paused this run after an epoch; it may be resumed from there."""


PAUSED = Paused.__name__


class Terminated(KeyboardInterrupt):
    """The process received the signal `number`, SIGTERM or SIGHUP. Unwinds the stack as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        why = "Its terminal was closed" if number == signal.SIGHUP else "It was asked to end"
        super().__init__(f"{why} ({signal.Signals(number).name}).")
        self.exit_code = 128 + number


def suggestion(word: str, choices: Iterable[str]) -> str:
    """` Did you mean 'adam'?` if `word` is close to one of `choices`, otherwise the empty string."""
    named = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(word.casefold(), list(named), n=1, cutoff=0.6)
    return f" Did you mean '{named[near[0]]}'?" if near else ""
