"""Progress bars: one for each running run and one for the whole sweep, fitted to the width of the terminal.

Names are shortened first, then the bars and the text of a run; counters and times are never shortened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.live import Live
from rich.text import Text

from harness.terminal import in_kernel, replaceable

STARTING = (*["starting"] * 4, "")
LAYOUTS = ((24, 0, 30), (12, 0, 30), (12, 1, 24), (12, 2, 20), (0, 2, 16), (0, 3, 12), (0, 4, 1))
"""Layouts, in the order of trying: columns of a bar, index of the wording, columns left for the name."""


ECHO = 2
"""Columns that stay free at the end of a line: the terminal writes `^C` there and must not wrap it."""


@dataclass
class ProgressBar:
    """One bar and its text. `words` are wordings of the same text, the longest first."""

    name: str
    total: int
    done: float = 0.0
    words: Sequence[str] = STARTING
    style: str = ""
    timed_from: tuple[float, float] | None = None
    """The time and the count from which the remaining time is estimated; None: from the first progress on."""
    ends: float | None = None
    """The time after which no job begins, if that is limited. `total` is 0 if nothing else is."""
    began: float = field(default_factory=time.monotonic)
    changed: float = 0.0

    def update(self, done: float, words: Sequence[str]) -> None:
        """Set the progress and its text."""
        self.words = words
        if done != self.done:
            self.done, self.changed = done, time.monotonic()
            self.timed_from = self.timed_from or (self.changed, done)

    def wordings(self, first: int) -> Sequence[str]:
        """The wordings, from index `first` on."""
        return self.words[min(first, len(self.words) - 1) :]

    def count(self) -> str:
        """` 2/10`; `2` without a total; empty until there is something to count."""
        if not self.total:
            return str(int(self.done)) if self.done else ""
        return f"{int(self.done):{len(str(self.total))}}/{self.total}"

    def share(self, now: float) -> float:
        """How much of the total is done, or of the time is over."""
        if self.total:
            return self.done / self.total
        return 0.0 if self.ends is None else (now - self.began) / max(self.ends - self.began, 1e-9)

    def left(self, now: float) -> str:
        """`0:21 left`, at the pace so far, or until the end of the time; empty before one epoch or job is done, or if
        the measured time is too short."""
        since, counted = self.timed_from or (0.0, self.done)
        found = [] if self.ends is None else [self.ends - now]
        if self.done - counted >= 1 and self.done < self.total:
            pace = (self.changed - since) / (self.done - counted)
            found.append(pace * (self.total - self.done) - (now - self.changed))
        return f"{clock(min(found))} left" if found and min(found) >= 1 else ""


class Bars:
    """The bars of a sweep or a run. `whole`, if there is one, stands above `running`."""

    def __init__(self) -> None:
        self.whole: ProgressBar | None = None
        self.running: dict[str, ProgressBar] = {}
        self._drawn = (0, [0])
        self._name = self._count = 0
        self._words = [41, 20, 13, 13, 0]  # the scores of two splits, so that their first ones change no column

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.lines(console.width - ECHO - 1, console.height, console.encoding.startswith("utf"))
        self._drawn = console.width, [line.cell_len for line in lines]
        yield from lines

    def height(self, width: int) -> int:
        """How many lines the last frame takes now: a terminal wraps lines again when it becomes narrower."""
        drawn, lengths = self._drawn
        return sum(max(1, -(-length // width)) for length in lengths) if 0 < width < drawn else len(lengths)

    def lines(self, width: int, height: int = 25, fancy: bool = True, now: float | None = None) -> list[Text]:
        """The frame for a terminal of this size; `fancy`: it can show Unicode."""
        now = time.monotonic() if now is None else now
        every = ([self.whole] if self.whole else []) + list(self.running.values())
        if not every:
            return []
        shown = every[: max(1, height - 2)]
        spent_times = [clock(now - bar.began) for bar in every]
        left = [bar.left(now) for bar in every]
        # A column never becomes narrower again: columns that change with each run are hard to read.
        self._name = max(self._name, *(cell_len(bar.name) for bar in every))
        self._count = max(self._count, *(len(bar.count()) for bar in every))
        for bar in self.running.values():
            self._words = [max(most, cell_len(bar.wordings(place)[0])) for place, most in enumerate(self._words)]
        width_of_time, rest = max(map(len, spent_times)), max(9, *map(len, left))
        fixed = self._count + 2 + width_of_time + 2 + rest
        for size, wording, least in LAYOUTS:
            taken = (size + 2 if size else 0) + fixed + 2
            taken += self._words[wording] + 2 if self._words[wording] else 0
            if (room := width - taken) >= min(self._name, least):
                break
        room = max(1, min(self._name, room))
        lines = []
        for bar, spent, remaining in zip(shown, spent_times, left, strict=False):
            line = Text(no_wrap=True).append(_fitted(bar.name, room, fancy), bar.style)
            if size:
                line.append("  ").append_text(_drawn_bar(bar.share(now), size, fancy))
            line.append(f"  {bar.count():>{self._count}}  {spent:>{width_of_time}}  {remaining:>{rest}}")
            free = width - line.cell_len - 2
            wordings = bar.wordings(0 if bar is self.whole else wording)
            line.append(f"  {next((words for words in wordings if cell_len(words) <= free), '')}")
            lines.append(line)
        if hidden := len(every) - len(shown):
            lines.append(Text(f"and {hidden} more", style="dim"))
        for line in lines:
            line.rstrip()
            line.truncate(max(width, 1))
        return lines


def clock(seconds: float) -> str:
    """`0:45`, `12:03`, `1:02:03`."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _drawn_bar(share: float, size: int, fancy: bool) -> Text:
    full = min(size, int(size * share))
    signs = "━─" if fancy else "#-"
    return Text(signs[0] * full, "bar.complete").append(signs[1] * (size - full), "dim")


def _fitted(text: str, room: int, fancy: bool) -> str:
    """The text in exactly `room` columns; a long text is cut in the middle, since a run's seed is at its end."""
    if cell_len(text) <= room:
        return set_cell_size(text, room)
    end = text[-(room // 2) :] if room > 1 else ""
    while cell_len(end) > room // 2:
        end = end[1:]
    return set_cell_size(text, room - 1 - cell_len(end)) + ("…" if fancy else "~") + end


class _Frames(Live):
    """Draws `Bars` over the last frame, also after the window became narrower."""

    def __init__(self, console: Console, bars: Bars) -> None:
        super().__init__(bars, console=console, transient=True, vertical_overflow="crop")
        self._bars = bars

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        with self._lock:
            if self._live_render.last_render_height:
                self._live_render._shape = (self.console.width, self._bars.height(self.console.width))
            return super().process_renderables(renderables)


@contextmanager
def live(console: Console) -> Iterator[Bars | None]:
    """Bars that are removed at the end of the block; None if the console cannot draw them."""
    if not console.is_interactive and not in_kernel():
        yield None
        return
    bars = Bars()
    if in_kernel():
        with replaceable(lambda: "\n".join(line.plain for line in bars.lines(console.width))):
            yield bars
        return
    with _Frames(console, bars):
        yield bars
