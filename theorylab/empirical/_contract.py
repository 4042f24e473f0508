r"""Sums of products of several arrays, two at a time, in the cheapest order.

A pair of terms of the NTK is one such sum, :math:`\sum A A' B B'`. The three orders that Novak et
al. (2022), section 3.4, tell apart, (A A')(B B'), ((A A') B) B' and (A B)(A' B'), are three of the
ways to multiply four arrays; here all ways are compared.

Differs from the paper / reference:
  1. The search counts bytes as well as operations, since an intermediate result that is written
     and read costs more than the operations that made it: ENTRY_PRICE = 160 operations for one of 4
     bytes (``BYTE_PRICE`` of ``_cost``). The usual searches for a path (``einsum``'s) count
     operations alone.
  2. It goes over all subsets of the arrays, so it is exact; MOST = 10 arrays are the limit (59,049
     splits).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST

MOST = 10
ENTRY_PRICE = 160

Labels = tuple[int, ...]


class Cost(NamedTuple):
    """Operations, entries of all intermediate results, entries of the largest one."""

    flops: float
    entries: float
    largest: float

    @property
    def priced(self) -> float:
        """Operations, those that intermediate entries count for among them."""
        return self.flops + ENTRY_PRICE * self.entries


Order = int | tuple["Order", "Order"]  # an array, or two of these multiplied


class Plan(NamedTuple):
    """An order, and its cost."""

    order: Order
    cost: Cost


def plan(arrays: Sequence[Labels], out: Labels, sizes: Mapping[int, int]) -> Plan:
    """The cheapest order to multiply arrays with these labels and sum all labels but ``out``."""
    count = len(arrays)
    if count > MOST:
        raise ValueError(f"at most {MOST} arrays can be multiplied, got {count}")
    everything = (1 << count) - 1

    def entries(labels: set[int]) -> float:
        return float(math.prod(sizes[label] for label in labels))

    def kept(subset: int) -> set[int]:
        inside = {x for k in range(count) if subset >> k & 1 for x in arrays[k]}
        outside = {x for k in range(count) if not subset >> k & 1 for x in arrays[k]}
        return inside & (outside | set(out))

    best = {1 << k: Plan(k, Cost(0.0, 0.0, 0.0)) for k in range(count)}
    left = {1 << k: set(arrays[k]) for k in range(count)}
    for size in range(2, count + 1):
        for chosen in combinations(range(count), size):
            subset = sum(1 << k for k in chosen)
            left[subset] = kept(subset)
            made = entries(left[subset]) if subset != everything else 0.0
            part = (subset - 1) & subset
            while part > subset - part:  # each split once
                other = subset - part
                a, b = best[part].cost, best[other].cost
                cost = Cost(
                    a.flops + b.flops + 2 * entries(left[part] | left[other]),
                    a.entries + b.entries + made,
                    max(a.largest, b.largest, made),
                )
                if subset not in best or cost.priced < best[subset].cost.priced:
                    best[subset] = Plan((best[part].order, best[other].order), cost)
                part = (part - 1) & subset
    return best[everything]


def multiply(
    arrays: Sequence[jax.Array], labels: Sequence[Labels], out: Labels, order: Order
) -> jax.Array:
    """Multiply; the axes are as in ``out``, of length 1 where no array has the label."""

    def go(order: Order, others: set[int]) -> tuple[jax.Array, Labels]:
        if isinstance(order, int):
            return arrays[order], labels[order]
        here, there = _labels(order[0], labels), _labels(order[1], labels)
        a, own_a = go(order[0], others | there)
        b, own_b = go(order[1], others | here)
        kept = (set(own_a) | set(own_b)) & others
        # The order in which a product of matrices gives them: no axes need to be moved.
        both = [x for x in own_a if x in own_b and x in kept]
        rest = [x for x in (*own_a, *own_b) if x in kept and x not in both]
        result = (*both, *rest)
        return _pair(a, own_a, b, own_b, result), result

    value, own = go(order, set(out))
    extra = [x for x in own if x not in out]
    value = value.sum([own.index(x) for x in extra])
    own = tuple(x for x in own if x in out)
    present = [x for x in out if x in own]
    value = value.transpose([own.index(x) for x in present])
    return jnp.expand_dims(value, [k for k, x in enumerate(out) if x not in own])


def _labels(order: Order, labels: Sequence[Labels]) -> set[int]:
    if isinstance(order, int):
        return set(labels[order])
    return _labels(order[0], labels) | _labels(order[1], labels)


def _pair(a: jax.Array, la: Labels, b: jax.Array, lb: Labels, out: Labels) -> jax.Array:
    if set(out) == set(la) | set(lb):  # nothing is summed
        return spread(a, la, out) * spread(b, lb, out)
    number = {x: k for k, x in enumerate(dict.fromkeys((*la, *lb)))}
    short = [[number[x] for x in labels] for labels in (la, lb, out)]
    return jnp.einsum(a, short[0], b, short[1], short[2], precision=HIGHEST)


def spread(a: jax.Array, labels: Labels, out: Labels) -> jax.Array:
    """``a`` with its axes in the order of ``out``, and length 1 where it has none."""
    present = [x for x in out if x in labels]
    a = a.transpose([labels.index(x) for x in present])
    return jnp.expand_dims(a, [k for k, x in enumerate(out) if x not in labels])
