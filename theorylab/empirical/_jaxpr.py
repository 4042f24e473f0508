"""A traced function as a flat program that can be walked backwards and evaluated at any variable.

``jax.make_jaxpr`` is public; the objects that it returns are described by duck typing, since their
types and the parameters of loops change between releases. Single operations are read in the file of
equations beside this one; no other file knows how JAX writes down a function.

Variables are integers. Calls (``jit``, ``checkpoint``) are inlined, loops (``scan``) hold a program
of their own, everything else is one step that JAX evaluates.

Differs from the paper / reference:
  1. Novak et al. (2022) interpret the backward pass inside JAX's differentiation. Here the pass is
     traced with public functions, and read afterwards.
  2. The arities of a loop are recovered from shapes: what is scanned has one axis more outside than
     inside.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.empirical._convolution import Convolution
from theorylab.empirical._equation import (
    CALLS,
    REMATERIALISED,
    details_of,
    evaluator,
    opened,
    sub_programs,
)


class Step(NamedTuple):
    """One operation: its name, variables in and out, how to carry it out, what is special.

    A loop has no ``run``: its :class:`Loop` is evaluated, for what is needed of it.
    """

    name: str
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    run: Callable[..., Sequence[Any]] | None
    details: Any = None  # a Dot, a Scatter, a Convolution, or the axes that the operation names
    inner: tuple["Program", ...] = ()


class Program:
    """A function of its inputs, one step after the other.

    ``depends[v]`` is the union of the bits given to the inputs that variable ``v`` is made from.
    """

    def __init__(self, jaxpr: Any, depends: Sequence[int]) -> None:
        self.shapes: list[Any] = []
        self.depends: list[int] = []
        self.constants: dict[int, Any] = {}
        self.steps: list[Step] = []
        self.maker: dict[int, Step] = {}
        self.loops: dict[int, Loop] = {}  # by the first variable that the step makes
        self.rematerialises = False
        self.inputs = [
            self._variable(v.aval, bits)
            for v, bits in zip(opened(jaxpr).invars, depends, strict=True)
        ]
        self.outputs = self._inline(jaxpr, self.inputs)

    # Building -----------------------------------------------------------------------------------

    def _variable(self, aval: Any, depends: int) -> int:
        self.shapes.append(aval)
        self.depends.append(depends)
        return len(self.shapes) - 1

    def constant(self, value: Any) -> int:
        """Add a known value."""
        dtype = value.dtype if hasattr(value, "dtype") else jnp.result_type(value)
        variable = self._variable(jax.ShapeDtypeStruct(np.shape(value), dtype), 0)
        self.constants[variable] = value
        return variable

    def add(self, name: str, run: Callable[..., Any], *ins: int) -> int:
        """Add a step of our own, a function of the variables ``ins`` with a single result."""
        known = [jax.ShapeDtypeStruct(self.shapes[v].shape, self.shapes[v].dtype) for v in ins]
        shape = jax.eval_shape(run, *known)
        out = self._variable(shape, self._union(ins))
        self._append(Step(name, ins, (out,), lambda *values: [run(*values)]))
        return out

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self.maker.update(dict.fromkeys(step.outs, step))

    def _union(self, variables: Iterable[int]) -> int:
        bits = 0
        for v in variables:
            bits |= self.depends[v]
        return bits

    def _inline(self, jaxpr: Any, ins: Sequence[int]) -> list[int]:
        body = opened(jaxpr)
        known: dict[Any, int] = dict(zip(body.invars, ins, strict=True))
        for v, value in zip(body.constvars, getattr(jaxpr, "consts", ()), strict=True):
            known[v] = self.constant(value)

        def variable(v: Any) -> int:
            if not hasattr(v, "val"):
                return known[v]
            literal = self._variable(v.aval, 0)
            self.constants[literal] = v.val
            return literal

        for equation in body.eqns:
            given = [variable(v) for v in equation.invars]
            name, subs = equation.primitive.name, sub_programs(equation.params.values())
            if name in CALLS and len(subs) == 1 and len(opened(subs[0]).invars) == len(given):
                self.rematerialises |= name in REMATERIALISED
                outs = self._inline(subs[0], given)
            elif name == "scan" and len(subs) == 1:
                outs = self._loop(equation, subs[0], given)
            else:
                outs = [self._variable(v.aval, self._union(given)) for v in equation.outvars]
                inner = tuple(Program(sub, [0] * len(opened(sub).invars)) for sub in subs)
                details = details_of(equation)
                run = evaluator(equation, details)
                self._append(Step(name, tuple(given), tuple(outs), run, details, inner))
            known.update(zip(equation.outvars, outs, strict=True))
        return [variable(v) for v in body.outvars]

    def _loop(self, equation: Any, sub: Any, given: list[int]) -> list[int]:
        if not equation.outvars:
            return []  # nothing is made
        loop = Loop(equation, sub, [self.depends[v] for v in given])
        outs = [
            self._variable(v.aval, bits)
            for v, bits in zip(equation.outvars, loop.out_bits, strict=True)
        ]
        self.rematerialises |= loop.body.rematerialises
        step = Step("scan", tuple(given), tuple(outs), None, None, (loop.body,))
        self._append(step)
        self.loops[outs[0]] = loop
        return outs

    def loop_of(self, step: Step) -> "Loop":
        """Find the loop behind a step named scan."""
        return self.loops[step.outs[0]]

    def beside(self, step: Step) -> Iterable[int]:
        """Variables that a loop returns beside its own, since they were lifted out of it."""
        return self.loops[step.outs[0]].extra.values() if step.name == "scan" else ()

    def lifted(self, step: Step, inner: int) -> tuple[int, bool]:
        """Make a variable of a loop's body known outside; also whether it has the loop's axis."""
        loop = self.loop_of(step)
        if inner in loop.body.constants:
            return self.constant(loop.body.constants[inner]), False
        if inner in loop.body.inputs:
            place = loop.body.inputs.index(inner)
            if place < loop.consts:
                return step.ins[place], False
            if place >= loop.consts + loop.carries:
                return step.ins[place], True
        if inner not in loop.extra:
            shape = loop.body.shapes[inner]
            whole = jax.ShapeDtypeStruct((loop.length, *shape.shape), shape.dtype)
            loop.extra[inner] = self._variable(whole, loop.body.depends[inner])
            self.maker[loop.extra[inner]] = step
        return loop.extra[inner], True

    # Reading ------------------------------------------------------------------------------------

    def is_zero(self, variable: int) -> bool:
        """Whether a variable is certainly zero, whatever the inputs."""
        if variable in self.constants:
            return _certainly_zero(self.constants[variable])
        step = self.maker.get(variable)
        passing = {"broadcast_in_dim", "convert_element_type", "reshape", "squeeze", "transpose"}
        return step is not None and step.name in passing and self.is_zero(step.ins[0])

    def convolves(self) -> bool:
        """Whether there is a convolution, in a loop or outside."""
        return any(
            isinstance(step.details, Convolution) or any(p.convolves() for p in step.inner)
            for step in self.steps
        )

    def size(self, variable: int) -> float:
        """Bytes of a variable."""
        shape = self.shapes[variable]
        entries = math.prod(getattr(shape, "shape", ()))
        return float(entries * getattr(getattr(shape, "dtype", None), "itemsize", 4))

    def needed(self, wanted: Iterable[int]) -> list[Step]:
        """The steps that the wanted variables are made by, in order."""
        return self._trace_back(wanted)[0]

    def used_inputs(self, wanted: Iterable[int]) -> set[int]:
        """The inputs that the wanted variables are made from."""
        return self._trace_back(wanted)[1]

    def _trace_back(self, wanted: Iterable[int]) -> tuple[list[Step], set[int]]:
        live, steps = set(wanted), []
        for step in reversed(self.steps):
            if live.isdisjoint(step.outs) and live.isdisjoint(self.beside(step)):
                continue
            steps.append(step)
            live.update(step.ins)
        return steps[::-1], live.intersection(self.inputs)

    def evaluate(self, inputs: Sequence[Any], wanted: Sequence[int]) -> list[Any]:
        """Values of the wanted variables."""
        values = {**self.constants, **dict(zip(self.inputs, inputs, strict=True))}
        steps = self.needed(wanted)
        live = set(wanted).union(*(step.ins for step in steps))
        for step in steps:
            given = [values[v] for v in step.ins]
            if step.run is None:
                values.update(self.loop_of(step).evaluate(given, step.outs, live))
            else:
                values.update(zip(step.outs, step.run(*given), strict=True))
        return [values[v] for v in wanted]


class Loop:
    """A ``scan``: its body, its arities, and further variables of the body to return stacked."""

    def __init__(self, equation: Any, sub: Any, given_bits: list[int]) -> None:
        body = opened(sub)
        outer = [len(v.aval.shape) for v in equation.invars]
        xs = sum(len(v.aval.shape) < n for v, n in zip(body.invars, outer, strict=True))
        outer = [len(v.aval.shape) for v in equation.outvars]
        ys = sum(len(v.aval.shape) < n for v, n in zip(body.outvars, outer, strict=True))
        self.carries = len(body.outvars) - ys
        self.consts = len(body.invars) - xs - self.carries
        self.length, self.reverse = equation.params["length"], equation.params["reverse"]
        bits, held = list(given_bits), slice(self.consts, self.consts + self.carries)
        while True:  # what a carry depends on grows from turn to turn, and ends
            self.body = Program(sub, bits)
            self.out_bits = [self.body.depends[v] for v in self.body.outputs]
            grown = [a | b for a, b in zip(bits[held], self.out_bits, strict=False)]
            if grown == bits[held]:
                break
            bits[held] = grown
        self.out_bits[: self.carries] = bits[held]
        self.extra: dict[int, int] = {}

    def evaluate(self, given: Sequence[Any], outs: Sequence[int], live: set[int]) -> dict[int, Any]:
        """Go through the loop once more, computing no more than the live variables need."""
        start, count = self.consts, self.carries
        made = self.body.outputs
        pairs = [*zip(made[count:], outs[count:], strict=True), *self.extra.items()]
        stacked = [(inner, outer) for inner, outer in pairs if outer in live]
        kept = {k for k in range(count) if outs[k] in live}
        while True:  # carries that live ones are made from live as well
            used = self.body.used_inputs([made[k] for k in kept] + [v for v, _ in stacked])
            more = kept | {k for k in range(count) if self.body.inputs[start + k] in used}
            if more == kept:
                break
            kept = more
        alive = sorted(kept)
        wanted = [made[k] for k in alive] + [inner for inner, _ in stacked]
        idle = list(given[start : start + count])

        def turn(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
            everything = list(idle)
            for k, value in zip(alive, carry, strict=True):
                everything[k] = value
            values = self.body.evaluate([*given[:start], *everything, *xs], wanted)
            return values[: len(alive)], values[len(alive) :]

        carry, ys = jax.lax.scan(
            turn,
            [idle[k] for k in alive],
            list(given[start + count :]),
            length=self.length,
            reverse=self.reverse,
        )
        found = {outs[k]: value for k, value in zip(alive, carry, strict=True)}
        return found | {outer: y for (_, outer), y in zip(stacked, ys, strict=True)}


def traced(g: Callable[..., Any], args: tuple[Any, ...], bits: Sequence[int] = ()) -> Program:
    """Trace ``g(*args)``; ``bits`` says for each argument what its leaves stand for."""
    marks = bits or [0] * len(args)
    flat = [bit for arg, bit in zip(args, marks, strict=True) for _ in jax.tree.leaves(arg)]
    return Program(jax.make_jaxpr(g)(*args), flat)


def standard(g: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """``g`` for arguments of these shapes, with its convolutions in the standard order of axes.

    It is ``g`` itself where there are none, where a part is to be rematerialised, which would be
    written out, and where something is done beside computing (printing, callbacks), which would be
    left out. Bodies of branches and of custom derivatives are evaluated as they are.
    """
    jaxpr, shapes = jax.make_jaxpr(g, return_shape=True)(*args)
    program = Program(jaxpr, [0] * len(jax.tree.leaves(args)))
    if getattr(jaxpr, "effects", ()) or program.rematerialises or not program.convolves():
        return g

    def run(*given: Any) -> Any:
        values = program.evaluate(jax.tree.leaves(given), program.outputs)
        return jax.tree.unflatten(jax.tree.structure(shapes), values)

    return run


def _certainly_zero(value: Any) -> bool:
    if np.ndim(value) > 0 and not isinstance(value, np.ndarray):
        return False  # not worth fetching
    try:
        return not np.any(np.asarray(value))
    except (jax.errors.ConcretizationTypeError, TypeError):
        return False  # known only when it is run, or a random key
