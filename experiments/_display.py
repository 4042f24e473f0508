"""Says what a run is doing: a bar with the time left on a terminal, plain lines in a log.

Everything goes to stderr, so that stdout holds results alone. Plain lines say which unit of work
has begun, at most one a second; a timer thread announces the unit that this left out, if it lasts,
and speaks up when nothing else was said for a while: a log never falls silent for longer than
`HEARTBEAT` seconds.
"""

import sys
import threading
import time
from typing import Any

# Origin of the constants: a reader of a log starts to doubt a silent process after about ten
# seconds, and more than one line a second cannot be read.
HEARTBEAT = 10.0
QUIET = 1.0


def duration(seconds: float) -> str:
    """Return a length of time for people.

    Examples
    --------
    >>> duration(0.234), duration(41.2), duration(125), duration(7260)
    ('0.2 s', '41 s', '2 min 05 s', '2 h 01 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Display:
    """Shows the work of one experiment; a context manager that cleans up after itself.

    Nothing appears before the first unit of work, so that a result from the cache stays quiet.

    Parameters
    ----------
    name
        What the lines start with.
    quiet
        Show nothing: for tests and notebooks.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self.name = name
        self.label = self._said = ""
        self._quiet = quiet
        self._visible = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._bar: Any = None
        self._task: Any = None
        self._spoke = -QUIET
        self._started = self._clock = time.monotonic()
        self._share: float | None = None
        self._fresh = 0.0

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Print one line, whatever else is going on."""
        if not self._quiet:
            self._print(text)

    def start_clock(self) -> None:
        """Measure from now on: importing and reading say nothing about the time left."""
        self._clock = time.monotonic()

    def phase(self, label: str) -> None:
        """Say which part of the run begins: importing, reading, drawing; its share is not known."""
        self._share = None
        self._spoke = -QUIET
        self.doing(label)

    def doing(self, label: str) -> None:
        """Say which unit of work begins now."""
        self.label = label
        self._show()

    def advanced(self, share: float | None, fresh: float, label: str | None = None) -> None:
        """Record how much is done.

        Parameters
        ----------
        share
            Part of all work that is behind us, in [0, 1]; None when nobody knows the whole.
        fresh
            Part of all work that was computed since this display was made; the rest was restored
            from disk and says nothing about the time left.
        label
            A new text for the unit of work.
        """
        self._share, self._fresh = share, fresh
        if label is not None or self._bar is not None:
            self.doing(label or self.label)

    def left(self) -> float | None:
        """Return the estimated seconds left, None while nothing has been measured."""
        if self._share is None or self._fresh <= 0:
            return None
        return (time.monotonic() - self._clock) * (1 - self._share) / self._fresh

    def _status(self) -> str:
        parts = [] if self._share is None else [f"{100 * self._share:.0f} %"]
        left = self.left()
        parts += [] if left is None else [f"about {duration(left)} left"]
        return ", ".join(parts)

    def _appear(self) -> None:
        self._visible = True
        self._started = self._clock = time.monotonic()
        if sys.stderr.isatty():
            self._bar = _bar()
        if self._bar is None:
            threading.Thread(target=self._heartbeat, daemon=True).start()
        else:
            self._bar.start()
            self._task = self._bar.add_task(f"{self.name}: starting", total=None, left="")

    def _show(self) -> None:
        if self._quiet:
            return
        if not self._visible:
            self._appear()
        if self._bar is not None:
            share = self._share
            total = None if share is None else 1.0
            self._bar.update(
                self._task,
                description=f"{self.name}: {self.label}",
                completed=share or 0.0,
                total=total,
                left=self._status(),
            )
        elif time.monotonic() - self._spoke > QUIET:
            self._say_label()

    def _say_label(self) -> None:
        status = self._status()
        self._said = self.label
        self._print(f"{self.label}{f' ({status})' if status else ''}")

    def _print(self, text: str) -> None:
        with self._lock:
            self._spoke = time.monotonic()
            if self._bar is not None:
                self._bar.console.print(f"{self.name}: {text}", markup=False, highlight=False)
            else:
                print(f"  {self.name}: {text}", file=sys.stderr, flush=True)

    def _heartbeat(self) -> None:
        while not self._stop.wait(QUIET / 2):
            silence = time.monotonic() - self._spoke
            if silence > QUIET and self._said != self.label:
                self._say_label()
            elif silence > HEARTBEAT:
                elapsed = duration(time.monotonic() - self._started)
                status = self._status()
                self._print(f"{self.label}: {elapsed} so far{f', {status}' if status else ''}")


def _bar() -> Any:
    """Return a rich progress bar on stderr; None where rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
