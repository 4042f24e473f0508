r"""Networks of one width in several abc-parametrizations: one program, exponents as numbers.

The kernel that drives training with the rates :math:`n^{-c_l}` is the sum of the layers' tangent
kernels with these rates as weights. In the gauge in which all c are 0 (``parametrization.regauge``)
it is the tangent kernel itself, and training is plain gradient descent. So every parametrization is
brought there, and what is left of it are two numbers for each layer, the multiplier
:math:`n^{-a_l}` and the standard deviation :math:`n^{-b_l}`, which a compiled program takes as
arguments. Networks of one number have the same draws in all parametrizations.

Training is full-batch gradient descent on :math:`\tfrac{1}{2P} \sum_p (f(x_p) - y_p)^2` over P
points, with one output and tanh. ``gauge_gaps`` compares with the direct way, ``abc_mlp`` and
``abc_rates`` with the exponents as they stand, after a random shift of every layer.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from theorylab import empirical
from theorylab.parametrization import ABC, abc_mlp, abc_rates, regauge

DEPTH = 2
PLAIN = ABC((0, 0, 0), (0, 0, 0))


def sizes(width, inputs):
    """Return the widths of all layers."""
    return (inputs, *(width,) * DEPTH, 1)


def without_rates(abc):
    """Return the same parametrization in the gauge in which every c is 0."""
    c = abc.c if isinstance(abc.c, tuple) else (abc.c,) * 3
    return regauge(abc, tuple(rate / 2 for rate in c))


def scales(parametrizations, width):
    """Return (multipliers, deviations), each (parametrizations, layers), in that gauge."""
    fixed = [without_rates(abc) for abc in parametrizations]
    a, b = (np.asarray([getattr(abc, name) for abc in fixed]) for name in "ab")
    return float(width) ** -a, float(width) ** -b


def observer(width, x, y, rate, records, every):
    """Return (multipliers, deviations, draws) -> what one network shows.

    At the start, and after each of ``records`` times ``every`` steps: ``kernel`` (records + 1, P,
    P), ``output`` (records + 1, P), and ``moved`` (records + 1, DEPTH), the root mean square over
    units and points of the change of preactivations.
    """
    net = abc_mlp(sizes(width, x.shape[1]), PLAIN, jnp.tanh)

    def effective(w, multipliers):
        return tuple(scale * one for scale, one in zip(multipliers, w, strict=True))

    def f(w, x, multipliers):
        return net.apply(effective(w, multipliers), x)[:, 0]

    def run(multipliers, deviations, draws):
        start = effective(draws, deviations)
        *before, _ = net.apply(effective(start, multipliers), x, features=True)

        def loss(w):
            return ((f(w, x, multipliers) - y) ** 2).mean() / 2

        def step(w, _):
            return jax.tree.map(lambda one, g: one - rate * g, w, jax.grad(loss)(w)), None

        def segment(w, _):
            *after, output = net.apply(effective(w, multipliers), x, features=True)
            moved = [jnp.sqrt(((v - u) ** 2).mean()) for u, v in zip(before, after, strict=True)]
            seen = {
                "kernel": empirical.ntk(f, w, x, multipliers=multipliers),
                "output": output[:, 0],
                "moved": jnp.stack(moved),
            }
            return jax.lax.scan(step, w, None, length=every)[0], seen

        return jax.lax.scan(segment, start, None, length=records + 1)[1]

    return run


def measured(parametrizations, width, x, y, *, rate, records, every, seeds, seed):
    """Return what ``seeds`` networks show in each parametrization, (seeds, parametrizations, ...).

    Networks are drawn from their own number and the width.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    run = observer(width, x, y, rate, records, every)
    init = abc_mlp(sizes(width, x.shape[1]), PLAIN, jnp.tanh).init
    both = tuple(jnp.asarray(one) for one in scales(parametrizations, width))

    @jax.jit
    def network(number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), width), number)
        draws = init(key)
        return jax.lax.map(lambda pair: run(*pair, draws), both)

    shown = [jax.tree.map(np.asarray, network(number)) for number in range(seeds)]
    return {name: np.stack([one[name] for one in shown]) for name in shown[0]}


def gauge_gaps(parametrizations, width, x, y, *, rate, steps, seed):
    """Return the largest relative gaps, over parametrizations, between two ways and two gauges.

    ``output``: after the steps, of the programs above and of ``abc_mlp`` with ``abc_rates`` in a
    random gauge; ``kernel``: of the tangent kernels at the start, that of the latter being the sum
    over layers weighted with their rates.
    """
    rng = np.random.default_rng(seed)
    key = jax.random.key(seed)
    draws = abc_mlp(sizes(width, x.shape[1]), PLAIN, jnp.tanh).init(key)
    run = jax.jit(observer(width, jnp.asarray(x), jnp.asarray(y), rate, 1, steps))
    gaps = []
    for abc, *pair in zip(parametrizations, *scales(parametrizations, width), strict=True):
        shown = run(*(jnp.asarray(one) for one in pair), draws)
        shifted = regauge(abc, tuple(rng.integers(-8, 9, DEPTH + 1) / 8))
        output, kernel = _directly(shifted, width, x, y, rate, steps, key)
        gaps.append((_gap(shown["output"][1], output), _gap(shown["kernel"][0], kernel)))
    return dict(zip(("output", "kernel"), np.max(gaps, axis=0), strict=True))


def _directly(abc, width, x, y, rate, steps, key):
    """Return the output after the steps, and the weighted kernel at the start."""
    net = abc_mlp(sizes(width, x.shape[1]), abc, jnp.tanh)
    rates = abc_rates(sizes(width, x.shape[1]), abc)
    w = net.init(key)

    def layer(place, one, w):
        return net.apply((*w[:place], one, *w[place + 1 :]), x)[:, 0]

    def kernel(w):
        whole = jnp.zeros((len(x), len(x)))
        for place, factor in enumerate(rates):
            jacobian = jax.jacobian(partial(layer, place))(w[place], w).reshape(len(x), -1)
            whole += factor * jnp.matmul(jacobian, jacobian.T, precision="highest")
        return whole

    @jax.jit
    def both(w):
        def step(w, _):
            g = jax.grad(lambda w: ((net.apply(w, x)[:, 0] - y) ** 2).mean() / 2)(w)
            return tuple(v - rate * r * d for v, r, d in zip(w, rates, g, strict=True)), None

        return net.apply(jax.lax.scan(step, w, None, length=steps)[0], x)[:, 0], kernel(w)

    return both(w)


def _gap(ours, theirs):
    return np.abs(np.asarray(ours) - np.asarray(theirs)).max() / np.abs(np.asarray(theirs)).max()


def kernel_change(kernel):
    """Return |kernel - first| / |first| in Frobenius norm, (..., records), of (..., records, P, P).

    Examples
    --------
    >>> float(kernel_change(np.stack([np.eye(2), 3 * np.eye(2)]))[1])
    2.0
    """
    first = kernel[..., :1, :, :]
    return np.linalg.norm(kernel - first, axis=(-2, -1)) / np.linalg.norm(first, axis=(-2, -1))
