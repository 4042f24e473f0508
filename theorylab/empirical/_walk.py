r"""Where the gradient of a leaf comes from: the products at the end of its backward pass.

In the traced pass ``(parameters, example, cotangent) -> gradients`` every leaf's *total* gradient
is one variable. Walking back from it through operations that only rearrange, scale and add, one
meets the products that made it,

.. math::

    G_{cf}^{o} = \sum_s A_{sc} B_{sf}^{o},

with a stored signal :math:`A` that does not depend on the cotangent and a backpropagated one
:math:`B` that does. Returning the operands in place of their product leaves the sum over ``s`` for
later, where it can be done in the cheapest order.

Differs from the paper / reference:
  1. Novak et al. (2022), section 3.4, derive rules for the Jacobian of each operation and find
     every use of every leaf. Here the uses have been added up by JAX's own differentiation, so no
     use can be missed, and what is not recognised is left as it is: slower, never wrong.
  2. MOST_TERMS = 8: a sum of T products makes T^2 pairs, and each is compiled.
"""

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from theorylab.empirical._jaxpr import Program
from theorylab.empirical._products import convolution, dot, scatter
from theorylab.empirical._terms import COTANGENT, At, Labels, Operand, Sum, Term, Unrecognised

MOST_TERMS = 8


class Walk:
    """One walk back from the gradient of a leaf; labels are numbered from 0 up."""

    def __init__(self, program: Program, *, renumber: bool = True) -> None:
        self.program = program
        self.renumber = renumber  # whether a leaf that is reshaped may have its axes named anew
        self.found: set[str] = set()  # kinds of products, for the report
        self._fresh = itertools.count()
        self._leaf: set[int | None] = set()

    def from_leaf(self, variable: int) -> tuple[set[int | None], list[Term]]:
        """Labels of the leaf's axes; its gradient as a sum of terms, each a product of operands."""
        labels = self.new_labels(self.program.shapes[variable].shape)
        self._leaf = {*labels, None}
        terms = self._terms(self.program, variable, labels, whole=True)
        for term in terms:
            indexed = {a.index_of for a in term if a.index_of is not None}
            if any(indexed.intersection(a.labels) for a in term):
                raise Unrecognised("an indexed axis also appears in a factor")
            if any(a.index_of is None and not _plain(self.program, a.variable) for a in term):
                raise Unrecognised("a factor that is no real number of 16 bits or more")
        return self._leaf, terms

    def new_labels(self, shape: Sequence[int]) -> Labels:
        """A label for each axis that is not of length 1."""
        return tuple(None if size == 1 else next(self._fresh) for size in shape)

    def _terms(
        self,
        program: Program,
        variable: int,
        labels: Labels,
        *,
        whole: bool = False,
        total: Sum | None = None,
    ) -> list[Term]:
        if not program.depends[variable] & COTANGENT:
            if program.is_zero(variable):
                return []
            raise Unrecognised("a summand that does not depend on the cotangent")
        if not _plain(program, variable):
            raise Unrecognised("a signal that is no real number of 16 bits or more")
        step = program.maker.get(variable)
        if step is None:
            raise Unrecognised("the cotangent itself")
        if step.name not in RULES:
            raise Unrecognised(f"the operation {step.name}")
        return RULES[step.name](self, At(program, variable, step, labels, whole, total))

    def _or_as_it_is(self, program: Program, variable: int, labels: Labels) -> list[Term]:
        """Walk on; behind a sum, what is not recognised is an operand of its own."""
        try:
            return self._terms(program, variable, labels)
        except Unrecognised:
            if self._leaf.issuperset(labels):
                raise
            self.found.add("sum")
            return [(Operand(variable, labels),)]

    # Rearranging: the same numbers elsewhere ------------------------------------------------------

    def same(self, at: At) -> list[Term]:
        """Conversions and names."""
        return self._terms(at.program, at.step.ins[0], at.labels, whole=at.whole)

    def transpose(self, at: At) -> list[Term]:
        """Axes in another order."""
        inner: list[int | None] = [None] * len(at.labels)
        for label, axis in zip(at.labels, at.step.details, strict=True):
            inner[axis] = label
        return self._terms(at.program, at.step.ins[0], tuple(inner), whole=at.whole)

    def reshape(self, at: At) -> list[Term]:
        """Axes of length 1 come and go; anything else only while all of the leaf is there."""
        before = at.program.shapes[at.step.ins[0]].shape
        after = at.program.shapes[at.variable].shape
        if at.step.name == "reshape" and at.step.details is not None:
            raise Unrecognised("a reshape in another order")
        if [n for n in before if n != 1] == [n for n in after if n != 1]:
            kept = iter([label for label, n in zip(at.labels, after, strict=True) if n != 1])
            inner = tuple(next(kept) if n != 1 else None for n in before)
        elif at.whole and self.renumber and at.step.name == "reshape":
            # The kernel is a sum over all entries of the leaf, which may be numbered anew.
            inner = self.new_labels(before)
            self._leaf = {*inner, None}
        else:
            raise Unrecognised(f"a {at.step.name} of part of the gradient")
        return self._terms(at.program, at.step.ins[0], inner, whole=at.whole)

    # Sums -----------------------------------------------------------------------------------------

    def add(self, at: At) -> list[Term]:
        """Several uses of one leaf, or a turn of a loop."""
        terms: list[Term] = []
        for v in at.step.ins:
            terms += self._summand(at, v)
        if len(terms) > MOST_TERMS:
            raise Unrecognised(f"a sum of more than {MOST_TERMS} products")
        return terms

    def subtract(self, at: At) -> list[Term]:
        """A difference."""
        first, second = at.step.ins
        _same_shape(at, second)
        negative = self._negative(at.program, self._terms(at.program, second, at.labels))
        return self._summand(at, first) + negative

    def negate(self, at: At) -> list[Term]:
        """A change of sign."""
        return self._negative(at.program, self._terms(at.program, at.step.ins[0], at.labels))

    def reduce_sum(self, at: At) -> list[Term]:
        """A sum over axes, which the product may not need to carry out."""
        rest = iter(at.labels)
        inner = tuple(
            self.new_labels([n])[0] if axis in at.step.details else next(rest)
            for axis, n in enumerate(at.program.shapes[at.step.ins[0]].shape)
        )
        return self._or_as_it_is(at.program, at.step.ins[0], inner)

    def _summand(self, at: At, variable: int) -> list[Term]:
        _same_shape(at, variable)
        if at.total is not None and variable == at.total.variable:
            at.total.met.append(None)
            return []
        return self._terms(at.program, variable, at.labels, total=at.total)

    def _negative(self, program: Program, terms: list[Term]) -> list[Term]:
        return [(*term, Operand(program.constant(-1.0), ())) for term in terms]

    # Factors that do not depend on the cotangent --------------------------------------------------

    def multiply(self, at: At) -> list[Term]:
        """A scale, a mask, the derivative of a function of the leaf."""
        factor, signal = at.step.ins
        if at.program.depends[factor] & COTANGENT:
            factor, signal = signal, factor
        if at.program.depends[factor] & COTANGENT:
            raise Unrecognised("a product of two signals that depend on the cotangent")
        return self._scaled(at, factor, signal)

    def divide(self, at: At) -> list[Term]:
        """A scale, once more."""
        signal, divisor = at.step.ins
        if at.program.depends[divisor] & COTANGENT:
            raise Unrecognised("a quotient by what depends on the cotangent")
        return self._scaled(at, at.program.add("inverse", lambda a: 1 / a, divisor), signal)

    def _scaled(self, at: At, factor: int, signal: int) -> list[Term]:
        _same_shape(at, signal)
        shape, whole = (at.program.shapes[v].shape for v in (factor, at.variable))
        if shape and any(n not in (1, m) for n, m in zip(shape, whole, strict=True)):
            raise Unrecognised("a factor of another shape")
        labels: Labels = ()
        if shape:
            pairs = zip(at.labels, shape, strict=True)
            labels = tuple(None if n == 1 else label for label, n in pairs)
        maker = at.program.maker.get(factor)
        if maker is not None and maker.name == "broadcast_in_dim":
            before = at.program.shapes[maker.ins[0]].shape
            if all(shape[k] == n for k, n in zip(maker.details, before, strict=True)):
                factor, labels = maker.ins[0], tuple(labels[k] for k in maker.details)
        terms = self._or_as_it_is(at.program, signal, at.labels)
        return [(*term, Operand(factor, labels)) for term in terms]

    # Loops ----------------------------------------------------------------------------------------

    def scan(self, at: At) -> list[Term]:
        """Gradients stacked turn by turn, or added up over the turns."""
        loop, place = at.program.loop_of(at.step), at.step.outs.index(at.variable)
        terms: list[Term]
        inner = loop.body.outputs[place]
        if place >= loop.carries:
            turn, rest = at.labels[0], at.labels[1:]
            if sum(label is not None for label in rest) < 2:
                terms = [(Operand(inner, rest),)]  # a vector for each turn
            else:
                terms = self._terms(loop.body, inner, rest)
        else:
            if not at.program.is_zero(at.step.ins[loop.consts + place]):
                raise Unrecognised("a loop that does not start from zero")
            turn = self.new_labels([loop.length])[0]
            total = Sum(loop.body.inputs[loop.consts + place], [])
            terms = self._terms(loop.body, inner, at.labels, total=total)
            if len(total.met) != 1:
                raise Unrecognised("a loop that does more than add")
        self.found.add("loop")
        return [tuple(self._lifted(at, operand, turn) for operand in term) for term in terms]

    def _lifted(self, at: At, operand: Operand, turn: int | None) -> Operand:
        outer, stacked = at.program.lifted(at.step, operand.variable)
        labels = (turn, *operand.labels) if stacked else operand.labels
        return operand._replace(variable=outer, labels=labels)


def _plain(program: Program, variable: int) -> bool:
    dtype = program.shapes[variable].dtype
    return bool(jnp.issubdtype(dtype, jnp.floating)) and dtype.itemsize > 1


def _same_shape(at: At, variable: int) -> None:
    """The operations broadcast axes of length 1; only those that do not are walked through."""
    if at.program.shapes[variable].shape != at.program.shapes[at.variable].shape:
        raise Unrecognised("an operation that broadcasts a signal")


RULES: dict[str, Callable[[Walk, At], list[Term]]] = {
    **dict.fromkeys(("convert_element_type", "copy", "copy_p", "name"), Walk.same),
    "transpose": Walk.transpose,
    **dict.fromkeys(("reshape", "squeeze", "expand_dims", "broadcast_in_dim"), Walk.reshape),
    **dict.fromkeys(("add", "add_any"), Walk.add),
    "sub": Walk.subtract,
    "neg": Walk.negate,
    "reduce_sum": Walk.reduce_sum,
    "mul": Walk.multiply,
    "div": Walk.divide,
    "dot_general": dot,
    "conv_general_dilated": convolution,
    **dict.fromkeys(("scatter-add", "scatter_add"), scatter),
    "scan": Walk.scan,
}
