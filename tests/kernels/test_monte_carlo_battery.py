"""Finite networks against their kernel, layer by layer: the rate in draws, the bias in width.

Every case puts a layer and an activation behind each other; each layer, padding, activation and
parameterization is in at least one. With nothing but a readout behind them, both kernels of a
finite network have the exact mean at any width: what separates an average over draws from the
kernel is noise, which must fall as one over the root of their number. (Normalisation over channels
and repeated layers have a bias of their own, and an allowance.) With one more hidden layer behind
them there is a bias, which must fall as one over the width.

Parameters are drawn with NumPy, straight from the definition of the parameterization: that ``init``
draws them so is tested in tests/layers, and compiling JAX's generator would take most of the time.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk

W, B = 1.3, 0.3
WIDE, GROUPS = 1024, 16
NARROW, WIDER = 8, 32
NEXT_ORDER = 3 / NARROW  # a bias b / n (1 + r / n) has r of order one; |r| up to 3 is allowed for
POSITIONS = 2  # of the output, the first and the one beside it: a border and the inside
VECTOR, SIGNAL, IMAGE = (2, 3), (2, 5, 2), (2, 4, 4, 2)
FEW, MANY = (256, 10_000, 4_000), (256, 100_000, 20_000)


class Case(NamedTuple):
    """Layers by the width of the first, the shape of inputs, draws at WIDE, NARROW and WIDER."""

    front: Callable[[int], list]
    shape: tuple
    draws: tuple = FEW
    parameterization: str = "ntk"
    biased: bool = False


def dense(width, parameterization="ntk"):
    return tk.Dense(width, W, B, parameterization=parameterization)


def conv(width, padding="SAME", filter_shape=(3,), strides=None, parameterization="ntk"):
    return tk.Conv(width, filter_shape, strides, padding, W, B, parameterization=parameterization)


def branches(first, second, join):
    return [tk.FanOut(2), tk.parallel(tk.serial(*first), tk.serial(*second)), join]


CASES = {
    "dense": Case(lambda n: [dense(n), tk.Abs()], VECTOR, MANY),
    "dense, standard": Case(
        lambda n: [dense(n, "standard"), tk.LeakyRelu(0.3)], VECTOR, MANY, "standard"
    ),
    "conv, same": Case(lambda n: [conv(n), tk.Relu()], SIGNAL),
    "conv, valid, strides, global sum pooling": Case(
        lambda n: [conv(n, "VALID", (2,), (2,)), tk.Gelu(), tk.GlobalSumPool()], SIGNAL
    ),
    "conv, circular, standard": Case(
        lambda n: [conv(n, "CIRCULAR", parameterization="standard"), tk.Erf(1.3, 0.7, 0.4)],
        SIGNAL,
        FEW,
        "standard",
    ),
    "conv in two dimensions, flatten": Case(
        lambda n: [conv(n, "SAME", (3, 2), (2, 1)), tk.ABRelu(-0.5, 1.2), tk.Flatten()], IMAGE
    ),
    "average pooling, same": Case(
        lambda n: [conv(n), tk.Sin(1.2, 0.8, 0.3), tk.AvgPool((3,), (2,), "SAME", True)], SIGNAL
    ),
    "sum pooling, valid": Case(
        lambda n: [conv(n), tk.Cos(0.9, 1.1, 0.2), tk.SumPool((2,), (2,))], SIGNAL
    ),
    "global average pooling": Case(
        lambda n: [conv(n, "SAME", (2, 3)), tk.Rbf(0.7), tk.GlobalAvgPool()], IMAGE
    ),
    "normalisation of channels": Case(
        lambda n: [conv(n), tk.LayerNorm(), tk.Erf()], SIGNAL, biased=True
    ),
    "normalisation of positions and channels": Case(
        lambda n: [conv(n), tk.LayerNorm((1, 2)), tk.Relu()], SIGNAL, biased=True
    ),
    "sum of branches, identity": Case(
        lambda n: branches([conv(n), tk.Erf()], [conv(n), tk.Identity()], tk.FanInSum()), SIGNAL
    ),
    "product of branches": Case(
        lambda n: branches([dense(n), tk.Erf()], [dense(n), tk.Sin()], tk.FanInProd()), VECTOR, MANY
    ),
    "channels of branches": Case(
        lambda n: branches([conv(n), tk.Relu()], [conv(n // 2)], tk.FanInConcat()), SIGNAL
    ),
    "positions of branches": Case(
        lambda n: branches([conv(n), tk.Cos()], [conv(n)], tk.FanInConcat(1)), SIGNAL
    ),
    "repeat": Case(
        lambda n: [tk.repeat(tk.serial(dense(n), tk.Relu()), 2)],
        VECTOR,
        (96, 10_000, 4_000),  # a million weights in each of the wide networks
        biased=True,
    ),
}
everyone = pytest.mark.parametrize("name", CASES)


def inputs(case):
    return np.random.default_rng(5).normal(size=case.shape).astype(np.float32)


def draw_parameters(case, net, shape, draws):
    """Stacks of independent parameters: standard normal, or of the standard parameterization."""
    rng = np.random.default_rng(draws)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))

    def draw(path, leaf):
        normal = rng.standard_normal((draws, *leaf.shape), np.float32)
        if case.parameterization == "standard":
            fan_in = math.prod(leaf.shape[:-1])
            normal *= np.float32(W / fan_in**0.5 if path[-1].key == "W" else B)
        return normal

    return jax.tree_util.tree_map_with_path(draw, shapes)


def sample(case, body, draws):
    """Both kernels, outputs by outputs, of many finite networks with a readout behind ``body``.

    In the NNGP the noise of the readout's weights is averaged out exactly.
    """
    x, trunk = inputs(case), tk.serial(*body)
    net = tk.serial(*body, dense(1, case.parameterization))

    def kernels(params):
        rows = trunk.apply(params[:-1], x)
        if rows.ndim == 3:
            rows = rows[:, :POSITIONS].reshape(-1, rows.shape[-1])
        nngp = W**2 / rows.shape[1] * jnp.matmul(rows, rows.T, precision="highest") + B**2

        def outputs(params):
            y = net.apply(params, x)
            return (y[:, :POSITIONS] if y.ndim == 3 else y).reshape(-1)

        jacobian = jax.tree.leaves(jax.jacrev(outputs)(params))
        blocks = [leaf.reshape(len(rows), -1) for leaf in jacobian]
        return nngp, sum(jnp.matmul(j, j.T, precision="highest") for j in blocks)

    run = jax.jit(lambda stack: jax.lax.map(kernels, stack, batch_size=min(draws // 16, 2000)))
    return [np.asarray(k, np.float64) for k in run(draw_parameters(case, net, x.shape, draws))]


@cache
def exact(name):
    """Both kernels, outputs by outputs, of the infinite network with a readout behind the front."""
    case = CASES[name]
    net = tk.serial(*case.front(WIDE), dense(1, case.parameterization))
    # The program runs once and for microseconds: no time for optimising it.
    options = {"xla_backend_optimization_level": 0}
    kernel = jax.jit(lambda x: net.kernel(x), compiler_options=options)(inputs(case))

    def square(k):
        k = np.asarray(k, np.float64)
        if k.ndim == 2:
            return k
        k = k[:, :, :POSITIONS, :POSITIONS].swapaxes(1, 2)
        return k.reshape(len(k) * POSITIONS, -1)

    return square(kernel.nngp), square(kernel.ntk)


def exact_behind_another_layer(name, width):
    """The same with an erf layer between, by the arcsine law: no second kernel to compile."""
    nngp, ntk = exact(name)
    standard = CASES[name].parameterization == "standard"
    if standard:  # whose NTK has the product of a layer's inputs times their number
        ntk = ntk + (width - WIDE) * (nngp - B**2) / W**2
    root = np.sqrt(1 + 2 * np.diag(nngp))
    root = root[:, None] * root
    hidden = 2 / np.pi * np.arcsin(2 * nngp / root)
    slope = 4 / np.pi / np.sqrt(root**2 - 4 * nngp**2)
    readout = width * hidden + 1 if standard else W**2 * hidden + B**2
    return W**2 * hidden + B**2, readout + W**2 * slope * ntk


@everyone
def test_averages_over_wide_networks_approach_the_kernel_as_one_over_the_root_of_draws(name):
    case = CASES[name]
    draws = case.draws[0]
    size = draws // GROUPS
    own = sample(case, case.front(WIDE), draws)
    for each, kernel in zip(own, exact(name), strict=True):
        deviation, error = each - kernel, each.std(0, ddof=1) / draws**0.5
        # The mean of a function of fluctuating moments is off by its second order, about the
        # relative variance; twice that, since several moments fluctuate together.
        allowance = 2 * each.var(0) / np.abs(kernel).max() if case.biased else 0
        assert np.max((np.abs(deviation.mean(0)) - allowance) / error) < 5
        groups = deviation.reshape(GROUPS, size, *kernel.shape).mean(1)
        slope = np.log(np.mean(groups**2) / np.mean(deviation**2)) / 2 / np.log(size)
        # The root of a mean of so many squares, worth at worst one number each.
        assert abs(slope + 0.5) < 3.5 / (2 * GROUPS) ** 0.5 / np.log(size)


@everyone
def test_the_bias_of_finite_networks_falls_as_one_over_the_width(name):
    """Compared in the direction in which the bias stands out most, by other draws than those."""
    case, ratio, biases = CASES[name], WIDER / NARROW, []
    for width, draws in zip((NARROW, WIDER), case.draws[1:], strict=True):
        own = sample(
            case, [*case.front(width), dense(width, case.parameterization), tk.Erf()], draws
        )
        kernels = exact_behind_another_layer(name, width)
        entries = np.triu_indices(len(kernels[0]))
        biases.append(
            [((a - k) / np.linalg.norm(k))[:, *entries] for a, k in zip(own, kernels, strict=True)]
        )
    for kind, narrow, wider in zip(("nngp", "ntk"), *biases, strict=True):
        half = len(narrow) // 2
        direction = np.linalg.solve(np.cov(narrow[:half].T), narrow[:half].mean(0))
        (b1, e1), (b2, e2) = (
            mean_and_error(narrow[half:] @ direction),
            mean_and_error(wider @ direction),
        )
        noise = 3.5 * np.hypot(e2, e1 / ratio)
        assert abs(b2 - b1 / ratio) < noise + NEXT_ORDER * abs(b1) / ratio
        if kind == "nngp":  # so that the line above compares more than noise with noise
            assert b1 > 4 * e1


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5
