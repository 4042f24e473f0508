"""What `run` reports to: units of work that are stored when done and come back after a kill.

Resuming to the same bits rests on three rules. Every unit starts from exactly what the disk holds,
also when it was not interrupted (a carry goes through NumPy after each chunk, which removes JAX's
weak types). Random keys come from ``fold_in`` of the absolute step, never from a chain of splits
that lives outside the carry; a key inside the carry is refused. Files are written in one piece, and
the carry after its outputs, so that the carry tells how many outputs count.
"""

import re
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments._display import Display
from experiments._store import CorruptFile, as_arrays, load_checked, save

Arrays = dict[str, np.ndarray]


class Progress:
    """Reports and stores the work of one run.

    Parameters
    ----------
    parts
        Folder for the stored units; None stores nothing (tests, notebooks).
    display
        Where to say what is going on; None says nothing.

    Attributes
    ----------
    restored_seconds
        Time that an interrupted run spent on the units that came back from disk.

    Examples
    --------
    >>> progress = Progress()
    >>> progress.stage("square", lambda: {"four": 2.0**2})
    {'four': array(4.)}
    """

    def __init__(self, parts: Path | None = None, display: Display | None = None) -> None:
        self._parts = parts
        self._display = display or Display("", quiet=True)
        self._costs: dict[str, float] = {}
        self._used: set[str] = set()
        self._done = 0.0
        self._fresh = 0.0
        self.restored_seconds = 0.0
        if parts is not None and any(parts.glob("*.npz")):
            self.note("going on where an interrupted run stopped")

    def plan(self, costs: Mapping[str, float]) -> None:
        """State the relative costs of the stages and chunk loops to come, for the time left.

        Labels that the plan does not hold count nothing. Raises ValueError for a cost below zero.
        """
        for label, cost in costs.items():
            if not cost >= 0:
                raise ValueError(f"the cost of {label!r} must be >= 0, got {cost}")
        self._costs = {label: float(cost) for label, cost in costs.items()}
        self._display.start_clock()

    def note(self, text: str) -> None:
        """Print one line for the reader."""
        self._display.note(text)

    def stage(self, label: str, fn: Callable[[], Mapping[str, Any]]) -> Arrays:
        """Return the arrays of ``fn()``, or those that an interrupted run stored.

        Parameters
        ----------
        label
            Unique within the run; it names the stored file.
        fn
            Computes a flat dict of named arrays; called at most once.

        Raises
        ------
        ValueError
            The label was used before.
        TypeError
            `fn` returned something that npz files cannot keep.
        """
        path = self._file(label)
        stored = self._restore(path)
        if stored is not None:
            arrays, meta = stored
            self._advance(label, 1.0, restored=True)
            self.restored_seconds += meta["seconds"]
            return arrays
        self._display.doing(label)
        start = time.monotonic()
        arrays = as_arrays(f"stage {label!r}", fn())
        seconds = time.monotonic() - start
        if path is not None:
            save(path, arrays, {"seconds": seconds})
        self._advance(label, 1.0)
        return arrays

    def chunks(
        self,
        label: str,
        step: Callable[[Any, int], tuple[Any, Mapping[str, Any] | None]],
        carry: Any,
        n_chunks: int,
    ) -> tuple[Any, Arrays]:
        """Run ``carry, out = step(carry, i)`` for i = 0 .. n_chunks - 1, storing after each chunk.

        Parameters
        ----------
        label
            Unique within the run; it names the stored files.
        step
            One chunk, usually a jitted ``lax.scan`` over its absolute steps. `out` is a flat dict
            of arrays with a leading axis, or None.
        carry
            Any pytree of arrays; its structure, shapes and dtypes must stay as they are.
        n_chunks
            Number of chunks, at least 1.

        Returns
        -------
        carry, outputs
            The last carry (JAX arrays) and each output concatenated along axis 0 (NumPy).

        Raises
        ------
        TypeError
            A random key in the carry (use ``jax.random.fold_in(key, absolute_step)`` in `step`), a
            carry that changes its structure, shape or dtype, outputs that npz cannot keep.
        ValueError
            A label used before, ``n_chunks < 1``, or an output without a leading axis.
        """
        import jax

        if n_chunks < 1:
            raise ValueError(f"n_chunks must be at least 1, got {n_chunks}")
        path = self._file(label)
        leaves, structure = jax.tree_util.tree_flatten(carry)
        tree: Any = structure
        state = [_to_host(label, leaf) for leaf in leaves]
        state = [np.asarray(jax.numpy.asarray(leaf)) for leaf in state]
        start, restored, outputs = 0, 0.0, list[Arrays]()
        stored = self._restore(path)
        if path is not None and stored is not None:
            start, restored, state, outputs = self._resume(path, stored, state)
            self.restored_seconds += restored
            self._advance(label, start / n_chunks, restored=True)
        self._display.doing(f"{label}, chunk {min(start + 1, n_chunks)} of {n_chunks}")
        begun = time.monotonic()
        for i in range(start, n_chunks):
            now = jax.tree_util.tree_unflatten(tree, [jax.numpy.asarray(leaf) for leaf in state])
            result, out = step(now, i)
            leaves, new_tree = jax.tree_util.tree_flatten(result)
            new = [_to_host(label, leaf) for leaf in leaves]
            if new_tree != tree or [_kind(x) for x in new] != [_kind(x) for x in state]:
                raise TypeError(
                    f"{label!r}: step must return a carry like the one it got, "
                    f"got {new_tree} {[_kind(x) for x in new]} "
                    f"for {tree} {[_kind(x) for x in state]}"
                )
            state = new
            outputs.append(_checked_outputs(label, out))
            if path is not None:
                seconds = restored + time.monotonic() - begun
                save(_output(path, i), outputs[-1], {"chunk": i})
                numbered = {f"{k:05d}": leaf for k, leaf in enumerate(state)}
                save(path, numbered, {"chunks": i + 1, "seconds": seconds})
            self._advance(label, 1 / n_chunks, text=f"{label}, chunk {i + 1} of {n_chunks} done")
        names = outputs[0].keys()
        if any(out.keys() != names for out in outputs):
            raise ValueError(f"{label!r}: every chunk must return the same outputs")
        joined = {name: np.concatenate([out[name] for out in outputs]) for name in names}
        last = [jax.numpy.asarray(leaf) for leaf in state]
        return jax.tree_util.tree_unflatten(tree, last), joined

    def _resume(
        self, path: Path, stored: tuple[Arrays, dict[str, Any]], state: list[np.ndarray]
    ) -> tuple[int, float, list[np.ndarray], list[Arrays]]:
        """Return (chunks done, seconds, carry, outputs); nothing done if a file is damaged."""
        arrays, meta = stored
        found = [arrays[name] for name in sorted(arrays)]
        outputs = []
        for i in range(meta["chunks"]):
            part = self._restore(_output(path, i))
            if part is None:
                break
            outputs.append(part[0])
        whole = len(outputs) == meta["chunks"]
        if not whole or [_kind(x) for x in found] != [_kind(x) for x in state]:
            self.note(f"warning: {path.stem} is incomplete on disk; computed again")
            return 0, 0.0, state, []
        self.note(f"{path.stem}: {meta['chunks']} chunks restored")
        return meta["chunks"], meta["seconds"], found, outputs

    def _file(self, label: str) -> Path | None:
        """Return the file of a unit; two units of one run must not share a label."""
        if label in self._used:
            raise ValueError(f"labels must be unique within a run, got {label!r} twice")
        self._used.add(label)
        if self._parts is None:
            return None
        slug = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")[:60]
        return self._parts / f"{slug}-{zlib.crc32(label.encode()):08x}.npz"

    def _restore(self, path: Path | None) -> tuple[Arrays, dict[str, Any]] | None:
        if path is None or not path.exists():
            return None
        try:
            return load_checked(path)
        except CorruptFile as error:
            self.note(f"warning: damaged file in the cache, computed again: {error}")
            return None

    def _advance(
        self, label: str, part: float, *, restored: bool = False, text: str | None = None
    ) -> None:
        """Count a part of a unit as done."""
        whole = sum(self._costs.values())
        share = part * self._costs.get(label, 0.0) / whole if whole else 0.0
        self._done += share
        self._fresh += 0.0 if restored else share
        self._display.advanced(min(self._done, 1.0) if whole else None, self._fresh, text)


def _output(path: Path, i: int) -> Path:
    return path.with_name(f"{path.stem}.{i:05d}.npz")


def _kind(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    return array.shape, array.dtype.name


def _to_host(label: str, leaf: Any) -> np.ndarray:
    """Return a leaf of a carry as a NumPy array that npz keeps."""
    import jax

    if hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{label!r}: the carry must hold no random key; use "
            "jax.random.fold_in(key, absolute_step) inside step"
        )
    return as_arrays(f"the carry of {label!r}", {"leaf": leaf})["leaf"]


def _checked_outputs(label: str, out: Mapping[str, Any] | None) -> Arrays:
    arrays = as_arrays(f"the step of {label!r}", out or {})
    for name, array in arrays.items():
        if array.ndim == 0:
            raise ValueError(f"{label!r}: output {name!r} must have a leading axis, got a scalar")
    return arrays
