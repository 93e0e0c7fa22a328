"""Contenders that take turns, so that what else happens on the machine meets all of them alike."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")

ROOT = Path(__file__).resolve().parents[1]
PAUSE = 0.3
"""Seconds between turns: the threads of OpenMP and XLA wait actively for a moment after their work."""


class Unavailable(Exception):
    """A contender cannot take part; the message is the last thing that it said."""


class Contender:
    """A program of `benchmarks.contenders` in `copies` processes that work at the same time."""

    def __init__(
        self,
        python: Path,
        module: str,
        argument: str,
        copies: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._said = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 (closed in `close`)
        self._processes = [
            subprocess.Popen(
                [python, "-m", f"benchmarks.contenders.{module}", argument],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
            )
            for _ in range(copies)
        ]

    def go(self) -> list[dict[str, Any]]:
        """Tell every copy to take its next turn and wait for all answers. Raises `Unavailable` if one has died."""
        answers = []
        try:
            for process in self._processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in self._processes:
                assert process.stdout is not None
                answers.append(json.loads(process.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError) as error:
            for process in self._processes:
                process.wait(timeout=60)
            self._said.seek(0)
            lines = [line.strip() for line in self._said if line.strip()]
            raise Unavailable(lines[-1] if lines else "it ended without a word") from error
        return answers

    def close(self) -> None:
        """End the processes, however far they are."""
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue  # what was still to be said goes to nobody
            process.wait()
        self._said.close()


def take_turns(
    contenders: Mapping[str, Callable[[], Answer]], rounds: int, pause: float = PAUSE
) -> dict[str, list[Answer]]:
    """Call each contender once a round, in the opposite order every other round; answers by name, by round."""
    answers: dict[str, list[Answer]] = {name: [] for name in contenders}
    names: Sequence[str] = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            answers[name].append(contenders[name]())
            time.sleep(pause)
    return answers
