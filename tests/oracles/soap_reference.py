"""SOAP in plain NumPy, float64, one tensor at a time: what the tests hold ``theorylab.optim`` to.

Vyas et al. (2024), "SOAP: improving and stabilizing Shampoo using Adam", arXiv:2409.11321, in the
order of operations of its authors' program (test_soap_reference.py checks that against their
numbers, to 1e-12). It knows nothing of JAX and of our library: every tensor is walked through its
calls in a Python loop, and both moments are kept as that program keeps them.

The order, for a tensor G and its factor L, basis Q along each preconditioned axis:

* call 1: L = (1 - b) G G', Q = eigenvectors of L + 1e-30, largest first; nothing moves;
* later calls: G is rotated; both moments take it; p moves by their quotient, rotated back; p
  decays; then L takes G, and every f-th time Q is reordered by diag(Q'LQ), v with it, and replaced
  by the orthogonal factor of L Q, into which m is rotated.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Factors = list[np.ndarray | None]


class Options(NamedTuple):
    """The options of the reference, by the library's names.

    ``learning_rate`` may be a function of the call, counted from 0. ``shampoo_beta`` None: b2.
    ``decay_order`` "reference": p decays after it has moved; "optax": by what it was before. Call 1
    decays nothing.
    """

    learning_rate: float | Callable[[int], float] = 3e-3
    b1: float = 0.95
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.01
    shampoo_beta: float | None = None
    precondition_frequency: int = 10
    max_precond_dim: int = 10_000
    merge_dims: bool = False
    data_format: str = "channels_first"
    precondition_1d: bool = False
    normalize_grads: bool = False
    correct_bias: bool = True
    decay_order: str = "reference"


class State(NamedTuple):
    """Moments in the rotated basis and in the shape of the tensor; steps that moved it."""

    step: int
    m: np.ndarray
    v: np.ndarray
    factors: Factors
    bases: Factors


def merged(shape: Sequence[int], most: int) -> list[int]:
    """Neighbouring axes joined from the left while their product is at most ``most``."""
    sizes, product = [], 1
    for size in shape:
        if product * size <= most:
            product *= size
        elif product > 1:
            sizes.append(product)
            product = size
        else:
            sizes.append(size)
    return [*sizes, product] if product > 1 or not sizes else sizes


class Layout:
    """How a tensor of this shape is laid out for its factors, and which axes have one."""

    def __init__(self, shape: tuple[int, ...], o: Options):
        moved = o.merge_dims and len(shape) == 4 and o.data_format == "channels_last"
        self.order = (0, 3, 1, 2) if moved else tuple(range(len(shape)))
        self.permuted = tuple(shape[axis] for axis in self.order)
        sizes = merged(self.permuted, o.max_precond_dim) if o.merge_dims else self.permuted
        self.shape = tuple(sizes)
        wanted = len(shape) > 1 or (len(shape) == 1 and o.precondition_1d)
        self.held = [wanted and size <= o.max_precond_dim for size in self.shape]

    def into(self, x: np.ndarray) -> np.ndarray:
        """A tensor as its factors see it."""
        return x.transpose(self.order).reshape(self.shape)

    def back(self, x: np.ndarray) -> np.ndarray:
        """As it was."""
        return x.reshape(self.permuted).transpose(np.argsort(self.order))


def rotated(x: np.ndarray, bases: Factors, side: int) -> np.ndarray:
    """x in the bases (``side`` 0), or out of them (1)."""
    for axis, q in enumerate(bases):
        if q is not None:
            x = np.moveaxis(np.tensordot(x, q, ([axis], [side])), -1, axis)
    return x


def second_moment(x: np.ndarray, axis: int) -> np.ndarray:
    """x times its transpose, with the axis in front and the others in one."""
    rows = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    return rows @ rows.T


def mixed(factors: Factors, x: np.ndarray, o: Options) -> Factors:
    """The factors after this tensor."""
    beta = o.b2 if o.shampoo_beta is None else o.shampoo_beta
    return [
        None if factor is None else beta * factor + (1 - beta) * second_moment(x, axis)
        for axis, factor in enumerate(factors)
    ]


def first_basis(factor: np.ndarray | None) -> np.ndarray | None:
    """Eigenvectors, those of the largest eigenvalues first."""
    if factor is None:
        return None
    return np.linalg.eigh(factor + 1e-30 * np.eye(len(factor)))[1][:, ::-1]


def refreshed(factors: Factors, bases: Factors, v: np.ndarray) -> tuple[Factors, np.ndarray]:
    """One step of orthogonal iteration along each axis, and v in its order."""
    new: Factors = []
    for axis, (factor, q) in enumerate(zip(factors, bases, strict=True)):
        if factor is None or q is None:
            new.append(None)
            continue
        order = np.argsort(-np.diag(q.T @ factor @ q), kind="stable")
        v = np.take(v, order, axis)
        new.append(np.linalg.qr(factor @ q[:, order])[0])
    return new, v


def rate(o: Options, call: int) -> float:
    """The learning rate of a call, counted from 0."""
    return o.learning_rate(call) if callable(o.learning_rate) else o.learning_rate


def first_call(p: np.ndarray, g: np.ndarray, o: Options) -> tuple[np.ndarray, State]:
    """Factors and bases from the first gradient."""
    layout = Layout(p.shape, o)
    empty: Factors = [
        np.zeros((size, size)) if held else None
        for size, held in zip(layout.shape, layout.held, strict=True)
    ]
    factors = mixed(empty, layout.into(g), o)
    return p, State(0, np.zeros_like(p), np.zeros_like(p), factors, [*map(first_basis, factors)])


def later_call(
    p: np.ndarray, g: np.ndarray, s: State, o: Options, call: int
) -> tuple[np.ndarray, State]:
    """One step."""
    layout, lr, step = Layout(p.shape, o), rate(o, call), s.step + 1
    turned = rotated(layout.into(g), s.bases, 0)
    m = o.b1 * layout.into(s.m) + (1 - o.b1) * turned
    v = o.b2 * layout.into(s.v) + (1 - o.b2) * turned**2

    update = layout.back(rotated(m / (np.sqrt(v) + o.eps), s.bases, 1))
    if o.normalize_grads:
        update = update / (1e-30 + np.sqrt(np.mean(update**2)))
    size = lr * np.sqrt(1 - o.b2**step) / (1 - o.b1**step) if o.correct_bias else lr
    before, p = p, p - size * update
    p = p - lr * o.weight_decay * (p if o.decay_order == "reference" else before)

    factors, bases = mixed(s.factors, layout.into(g), o), s.bases
    if step % o.precondition_frequency == 0:
        bases, v = refreshed(factors, s.bases, v)
        m = rotated(rotated(m, s.bases, 1), bases, 0)
    return p, State(step, layout.back(m), layout.back(v), factors, bases)


def run(
    init: np.ndarray,
    gradient: Sequence[np.ndarray] | Callable[[int, np.ndarray], np.ndarray],
    calls: int,
    bases: Factors | None = None,
    **options: object,
) -> tuple[np.ndarray, State]:
    """The tensor before and after every call, (calls + 1, ...), and the state at the end.

    ``gradient``: what each call is fed, or a function of the call and of the tensor. ``bases``
    replace those that call 1 has found.
    """
    o = Options(**options)  # type: ignore[arg-type]
    given = gradient if callable(gradient) else lambda call, _: gradient[call]
    path = [np.asarray(init, np.float64)]
    p, s = first_call(path[0], np.asarray(given(0, path[0]), np.float64), o)
    s = s if bases is None else s._replace(bases=bases)
    path.append(p)
    for call in range(1, calls):
        p, s = later_call(p, np.asarray(given(call, p), np.float64), s, o, call)
        path.append(p)
    return np.stack(path), s
