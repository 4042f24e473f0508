r"""What each method would cost, from shapes alone, and the tile that fits in memory.

With P parameters, O outputs of which a pair of examples keeps O_k, traced size O_t, a forward pass
of F operations per example and N pairs of examples to combine:

- Jacobian contraction: :math:`F (1 + 2 O) + \beta P O` for each prepared example,
  :math:`2 P O_t O_k N`;
- NTK-vector products: :math:`F (1 + 2 O) + \beta P O` for each column of each tile of rows,
  :math:`2 F O N`;
- structured derivatives: the backward pass without the products that are kept apart, and what
  ``_contract`` finds for those.

Differs from the paper / reference:
  1. Novak et al. (2022), table 1, give orders of growth; here the forward pass is counted in its
     jaxpr, two operations per multiply-add of a product or convolution and one per entry of
     anything else. A pass backwards, or one linearised, is taken for twice a pass forwards.
  2. BYTE_PRICE = 40 is the term in beta: a Jacobian is memory-bound. An MLP 784-512-512-512-10 took
     1 ns for each byte of Jacobians and did 72 operations in that time on 2 CPU cores;
     accelerators' ratios of speed to bandwidth are about 20.
  3. BUDGET = 512 MiB: two tiles of Jacobians, the linearised pass of one tile, or the vectors
     pulled back together should each stay inside it. ROWS = 128: fewer rows than that serve matrix
     products badly, more would forgo the symmetry.
  4. SIGNALS = 3: so many tangents or cotangents of the largest layer are alive at a time in a
     vector product or a Jacobian, beside all signals of the pass that is linearised.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from theorylab.empirical._axes import Axes
from theorylab.empirical._contract import ENTRY_PRICE
from theorylab.empirical._convolution import Convolution
from theorylab.empirical._equation import Dot
from theorylab.empirical._forms import Form, Read, held_entries, pairs_cost
from theorylab.empirical._jaxpr import Program, Step, traced
from theorylab.empirical._memory import peak
from theorylab.empirical._methods import Example
from theorylab.empirical._terms import COTANGENT

BUDGET = 512 * 2**20
BYTE_PRICE = 40
ROWS = 128
SIGNALS = 3


class Choice(NamedTuple):
    """A method, its tile (examples), vectors pulled back at a time, and what is predicted.

    ``kept`` says of each leaf of each output whether the operands of its gradient are kept; empty
    but for structured derivatives.
    """

    method: str
    tile: int
    pulled: int
    flops: float
    bytes: float
    kept: tuple[tuple[bool, ...], ...] = ()


class Job(NamedTuple):
    """What is to be computed, in shapes: n2 None where the columns are the rows."""

    floats: list[Any]
    axes: list[Axes]
    n1: int
    n2: int | None
    batch_size: int | None
    whole: bool

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.n1 if self.n2 is None else self.n2

    @property
    def itemsize(self) -> int:
        """Bytes of a parameter."""
        return max(np.dtype(leaf.dtype).itemsize for leaf in self.floats)

    @property
    def outputs(self) -> int:
        """Outputs of what is differentiated at once."""
        return sum(out.outputs for out in self.axes) * (self.n1 if self.whole else 1)

    def visits(self, tile: int, *, direct: bool = False) -> tuple[float, float]:
        """Examples prepared, and pairs of examples combined; see ``_tiles``."""
        n1, columns = self.n1, self.columns
        if self.whole:
            return (1 if self.n2 is None else 2), n1 * columns
        rounds = -(-n1 // tile)
        if self.n2 is not None:
            return n1 + columns * (rounds if columns > tile else 1), n1 * columns
        if rounds == 2 and not direct:
            return n1, 0.75 * n1 * n1
        return n1 * (1 + rounds // 2), n1 * n1 * (1 + rounds // 2) / rounds

    def fitted(self, bytes_each: float, most: int) -> int:
        """The tile that fits, of examples that take so much each."""
        if self.whole:
            return max(self.n1, self.columns)
        if self.batch_size is not None:
            return self.batch_size
        return int(np.clip(BUDGET / max(bytes_each, 1), 1, most))


def choose(method: str, g: Example, job: Job, x: Any, reads: list[Read] | None) -> Choice:
    """Choose the cheapest method that stays inside the budget, or size the one asked for.

    Where none stays inside, the one that takes the least memory. ``x`` is what ``g`` takes, in
    shapes; ``reads`` are needed for structured derivatives.
    """
    forward = traced(g, (job.floats, x))
    choices = []
    if method in ("auto", "jacobian"):
        choices.append(_jacobian(forward, job))
    if method in ("auto", "vector_product"):
        choices.append(_vector_product(forward, job))
    if method in ("auto", "structured"):
        assert reads is not None
        choices.append(_structured(reads, job))
    if method == "auto" and not _has_forward_mode(forward):
        choices = [choice for choice in choices if choice.method != "vector_product"]
    inside = [choice for choice in choices if choice.bytes <= BUDGET]
    if not inside:
        return min(choices, key=lambda choice: choice.bytes)
    return min(inside, key=lambda choice: choice.flops)


def _has_forward_mode(program: Program) -> bool:
    """Whether a function can be pushed forward: what has a ``jax.custom_vjp`` cannot."""
    return all(
        not step.name.startswith("custom_vjp") and all(map(_has_forward_mode, step.inner))
        for step in program.steps
    )


def _jacobian(forward: Program, job: Job) -> Choice:
    size = sum(math.prod(leaf.shape) for leaf in job.floats) * job.outputs
    each = 2 * job.itemsize * size + _linearised(forward, job.outputs)
    tile = job.fitted(each, max(job.n1, job.columns))
    prepared, combined = job.visits(tile)
    price = operations(forward) * (1 + 2 * job.outputs) + BYTE_PRICE * job.itemsize * size
    parameters = sum(math.prod(leaf.shape) for leaf in job.floats)
    per_pair = 2 * parameters * sum(out.traced_size * out.kept for out in job.axes)
    rows = 1 if job.whole else tile
    held = rows * (2 * job.itemsize * size + _linearised(forward, job.outputs))
    return Choice("jacobian", tile, 1, prepared * price + combined * per_pair, held)


def _vector_product(forward: Program, job: Job) -> Choice:
    parameters = sum(math.prod(leaf.shape) for leaf in job.floats)
    outputs, flops = job.outputs, operations(forward)
    each = _linearised(forward, outputs)
    most = min(job.n1, ROWS) if job.n2 is None else max(job.n1, job.columns)
    tile = job.fitted(each, most)
    combined = job.visits(tile, direct=True)[1]
    pulls = 1 if job.whole else combined / min(tile, job.n1)
    total = pulls * (flops * (1 + 2 * outputs) + BYTE_PRICE * job.itemsize * parameters * outputs)
    rows, pushed = (1, outputs) if job.whole else (job.n1, combined * outputs)
    total += 2 * flops * (rows + pushed)
    pulled = int(np.clip(BUDGET / max(job.itemsize * parameters, 1), 1, max(outputs, 1)))
    held = each * (1 if job.whole else tile) + job.itemsize * parameters * min(pulled, outputs)
    return Choice("vector_product", tile, pulled, total, held)


def _linearised(forward: Program, outputs: int) -> float:
    """Bytes for one example: the signals of a pass, and tangents or cotangents of the largest."""
    signals, largest = _signals(forward)
    return signals + SIGNALS * outputs * largest


def _signals(program: Program) -> tuple[float, float]:
    """Bytes of everything that a pass makes, loops turn by turn, and of the largest array."""
    total = largest = 0.0
    for step in program.steps:
        if step.name == "scan":
            loop = program.loop_of(step)
            own, most = _signals(loop.body)
            total += loop.length * own
            largest = max(largest, most)
        sizes = [program.size(v) for v in step.outs]
        total += sum(sizes)
        largest = max([largest, *sizes])
    return total, largest


def _structured(reads: list[Read], job: Job) -> Choice:
    most = max(job.n1, job.columns)
    tile = most if job.whole or job.batch_size is None else min(job.batch_size, most)
    while True:
        choice = _with_tile(reads, job, tile)
        if job.whole or job.batch_size is not None or choice.bytes <= BUDGET or tile == 1:
            return choice
        smaller = int(np.clip(tile * BUDGET / choice.bytes, 1, tile - 1))
        tile = -(-most // -(-most // smaller))  # as many tiles, of even lengths


def _with_tile(reads: list[Read], job: Job, tile: int) -> Choice:
    prepared, combined = job.visits(tile)
    total, held, largest, alive = 0.0, 0.0, 0.0, 0.0
    kept = []
    for read in reads:
        chosen, entries = [], []
        for leaf in read.leaves:
            priced = []
            for form in (leaf.formed, leaf.kept):
                if form is None:
                    continue
                size = held_entries(read, form)
                cost = pairs_cost(read, form, tile)
                each = form.forming + ENTRY_PRICE * size / (tile if job.whole else 1)
                flops = prepared * each + combined / tile**2 * cost.priced
                priced.append((flops, form, size, cost))
            flops, form, size, cost = min(priced, key=lambda entry: entry[0])
            chosen.append(form)
            entries.append(size)
            total += flops
            largest = max(largest, cost.largest * job.itemsize)
        kept.append(
            tuple(form is leaf.kept for form, leaf in zip(chosen, read.leaves, strict=True))
        )
        total += prepared * _pass(read, chosen, job)
        own = peak(read, chosen, tile=tile, whole=job.whole, itemsize=job.itemsize)
        alive += max(own - tile * sum(entries) * job.itemsize, 0)  # passes may run side by side
        held += sum(entries) * job.itemsize
    rounds, columns = -(-job.n1 // tile), -(-job.columns // tile)
    sides = 1 if job.n2 is None and rounds == 1 else 2
    # What is prepared without a loop, the compiler may prepare side by side.
    mixed = rounds == 2 if job.n2 is None else rounds == columns == 1
    at_once = 2 if mixed and not job.whole else 1
    memory = sides * tile * held + max(at_once * alive, largest)
    return Choice("structured", tile, 1, total, memory, tuple(kept))


def _pass(read: Read, forms: list[Form], job: Job) -> float:
    """Operations of the backward pass of one example, kept products left out."""
    program = read.program
    outputs = read.axes.outputs * (job.n1 if job.whole else 1)
    wanted = {v for f in forms for term in f.evaluated for group in term for v, _ in group.factors}
    flops = 0.0
    for step in program.needed(wanted):
        seen = bool(program.depends[step.outs[0]] & COTANGENT)
        flops += (outputs if seen else 1) * step_operations(program, step)
    formed = sum(form.forming for form in forms if not form.source)  # among the steps
    return max(flops - formed, 0.0)


def operations(program: Program) -> float:
    """Operations of one evaluation."""
    return sum(step_operations(program, step) for step in program.steps)


def step_operations(program: Program, step: Step) -> float:
    """Two for each multiply-add of a product or convolution, else one for each entry made."""
    if step.name == "scan":
        loop = program.loop_of(step)
        return loop.length * operations(loop.body)
    if step.inner:
        return sum(operations(inner) for inner in step.inner)
    out = float(sum(math.prod(getattr(program.shapes[v], "shape", ())) for v in step.outs))
    if isinstance(step.details, Dot):
        left = program.shapes[step.ins[0]].shape
        return 2 * out * math.prod(left[axis] for axis, _ in step.details.contracted)
    if isinstance(step.details, Convolution):
        right = program.shapes[step.ins[1]].shape
        return 2 * out * math.prod(right) / right[step.details.right[0]]
    return out
