r"""How many bytes are alive at once while the operands of a tile are evaluated.

The steps of the backward pass are gone through in order; a variable lives from the step that makes
it to the last one that reads it, what is held to the end, and a leaf that is multiplied out from
the moment its operands are there, which then go.

Differs from the paper / reference:
  1. No paper. Rearrangements are taken for views and everything else for an array of its own,
     though the compiler fuses some steps and rearranges some arrays. With the terms that ``_cost``
     adds, predictions were 0.88 to 1.24 times the compiler's temporaries for residual networks of
     widths 16 to 64 in tiles of 2 to 8, 0.78 to 1.55 times for an MLP, and 0.55 to 1.56 times for
     small convolutional, recurrent and attention networks (jax 0.10.1, CPU).
"""

from collections.abc import Sequence

from theorylab.empirical._forms import Form, Groups, Read, held_entries
from theorylab.empirical._jaxpr import Program
from theorylab.empirical._terms import COTANGENT, X

VIEWS = {"broadcast_in_dim", "copy", "expand_dims", "name", "reshape", "squeeze", "transpose"}


def peak(read: Read, forms: Sequence[Form], *, tile: int, whole: bool, itemsize: int) -> float:
    """Bytes alive at once while a tile is prepared, what it holds included.

    ``whole``: the tile is a batch that makes a single example.
    """
    jacobians = []
    for form in forms:
        if form.source:
            size = tile * itemsize * held_entries(read, form)
            jacobians.append((_variables(form.source), size))
    wanted = {v for form in forms for v in _variables(form.evaluated)}
    outputs = read.axes.outputs * (tile if whole else 1)
    return _peak(read.program, wanted, jacobians, 1 if whole else tile, outputs)


def _variables(terms: Sequence[Groups]) -> set[int]:
    return {v for term in terms for group in term for v, _ in group.factors}


def _peak(
    program: Program,
    wanted: set[int],
    jacobians: Sequence[tuple[set[int], float]],
    tile: int,
    outputs: int,
) -> float:
    steps = program.needed(wanted)
    view_of = {s.outs[0]: s.ins[0] for s in steps if s.name in VIEWS}

    def base(v: int) -> int:
        while v in view_of:
            v = view_of[v]
        return v

    def size(v: int) -> float:
        bits = program.depends[v]
        return program.size(v) * (tile if bits & X else 1) * (outputs if bits & COTANGENT else 1)

    made: dict[int, int] = {}  # by which step
    for place, step in enumerate(steps):
        made.update(dict.fromkeys((*step.outs, *program.beside(step)), place))
    end = len(steps)
    last: dict[int, int] = {}
    for place, step in enumerate(steps):
        last.update({base(v): place for v in step.ins})
    consumed: set[int] = set()
    appears = [0.0] * end
    for operands, bytes_made in jacobians:
        place = max((made.get(v, 0) for v in operands), default=0)
        appears[place] += bytes_made
        for v in operands:
            last[base(v)] = max(last.get(base(v), 0), place)
        consumed |= operands
    last.update({base(v): end for v in wanted - consumed})
    goes = [0.0] * end
    now = most = 0.0
    for place, step in enumerate(steps):
        inner = 0.0
        for v in (*step.outs, *program.beside(step)):
            if v not in view_of and v in last:
                now += size(v)
                if last[v] < end:
                    goes[max(last[v], place)] += size(v)
        if step.name == "scan":
            body = program.loop_of(step).body
            inner = _peak(body, {*body.outputs, *program.loop_of(step).extra}, (), tile, outputs)
        now += appears[place]
        most = max(most, now + inner)
        now -= goes[place]
    return most
