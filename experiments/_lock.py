"""One process at a time per result: a second one waits, says so, and finds the result made.

The lock is the kernel's (``flock``), so a process that is killed gives it back by dying; there are
no stale lock files to recognise. The file stays, because removing it would let two processes
hold locks on two different files of the same name. Where Python has no ``flock`` (Windows) two
processes both compute; every file is written in one piece, so they waste time and spoil nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, say: Callable[[str], None], what: str) -> Iterator[bool]:
    """Hold the lock `path` for the length of the block; the block learns whether it had to wait.

    Parameters
    ----------
    path
        The lock file; it holds the process number of its owner for the reader.
    say
        Called once with a sentence if another process holds the lock.
    what
        What the lock protects, for that sentence.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    with path.open("a+") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                stream.seek(0)
                owner = stream.read().strip() or "unknown"
                say(f"{what}: process {owner} is at it; waiting for its result")
                fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        # Closing the file gives the lock back.
        yield waited
