"""What the planning pass predicts, against the memory analysis of the compiled program."""

import math

import jax
import numpy as np
import pytest

import theorylab.kernels as tk

W = math.sqrt(2)


def dense(*activations, **options):
    return [x for act in activations for x in (tk.Dense(64, W_std=W, **options), act)]


def conv(*activations, **options):
    options = {"filter_shape": (3, 3), "padding": "SAME", **options}
    return [x for act in activations for x in (tk.Conv(8, W_std=W, **options), act)]


POOL = tk.AvgPool((2, 2), strides=(2, 2))
BRANCHES = tk.parallel(tk.Identity(), tk.serial(*dense(tk.Relu()), tk.Dense(8)))
RELU = tk.Relu()
CASES = {
    "dense": (tk.serial(*dense(RELU), tk.Dense(1)), (500, 16)),
    "dense, in tiles, many features": (tk.serial(*dense(RELU, RELU), tk.Dense(1)), (900, 784)),
    "dense, in tiles that do not divide": (tk.serial(*dense(RELU), tk.Dense(1)), (997, 16)),
    "dense, erf, bias": (tk.serial(*dense(tk.Erf(), b_std=0.1), tk.Dense(1)), (700, 16)),
    "dense, gelu": (tk.serial(*dense(tk.Gelu(), b_std=0.1), tk.Dense(1)), (500, 16)),
    "deep": (tk.serial(tk.repeat(tk.serial(*dense(RELU)), 30), tk.Dense(1)), (700, 30)),
    "branches": (tk.serial(tk.Dense(8), tk.FanOut(2), BRANCHES, tk.FanInSum()), (500, 16)),
    "flattened": (tk.serial(*conv(RELU, RELU), tk.Flatten(), tk.Dense(1)), (60, 8, 8, 2)),
    "flattened, in tiles": (tk.serial(*conv(RELU), tk.Flatten(), tk.Dense(1)), (180, 8, 8, 2)),
    "flattened, 1d": (
        tk.serial(*conv(RELU, filter_shape=(5,), padding="VALID"), tk.Flatten()),
        (60, 50, 4),
    ),
    "pooled": (tk.serial(*conv(RELU, RELU), tk.GlobalAvgPool(), tk.Dense(1)), (21, 8, 8, 2)),
    "pooled, erf": (tk.serial(*conv(tk.Erf(), b_std=0.1), tk.GlobalAvgPool()), (14, 8, 8, 2)),
    "pool within": (tk.serial(*conv(RELU), POOL, *conv(RELU), tk.Flatten()), (14, 8, 8, 2)),
    "images out": (tk.serial(*conv(RELU), tk.Conv(2, (3, 3))), (7, 8, 8, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_predicted_peak_is_within_one_and_a_half_of_the_compiled_programs(name):
    net, shape = CASES[name]
    compiled = jax.jit(net.kernel).lower(jax.ShapeDtypeStruct(shape, np.float32)).compile()
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    held += memory.temp_size_in_bytes
    assert 1 / 1.5 < net.plan(shape).bytes_peak / held < 1.5


@pytest.mark.parametrize("name", ["dense", "pooled"])
def test_a_limit_is_kept_by_the_compiled_program(name):
    net, shape = CASES[name]
    limit = int(0.8 * net.plan(shape).bytes_peak)
    tight = net.plan(shape, memory_limit=limit)
    assert tight.tile < net.plan(shape).tile

    def limited(x):
        return net.kernel(x, memory_limit=limit)

    compiled = jax.jit(limited).lower(jax.ShapeDtypeStruct(shape, np.float32)).compile()
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    assert held + memory.temp_size_in_bytes <= limit


def test_wide_pairs_are_counted():
    """A kinked activation above a pool has its pairs formed in float64."""
    shape = (14, 8, 8, 2)
    kinked, _ = CASES["pool within"]
    smooth = tk.serial(*conv(RELU), POOL, *conv(tk.Erf()), tk.Flatten())
    assert kinked.plan(shape).bytes_peak > 1.5 * smooth.plan(shape).bytes_peak


def test_triangles_of_tiles_waste_few_pairs():
    net, _ = CASES["pooled"]
    (length, other), n = net.plan((32, 8, 8, 2)).tile, 32
    tiles = math.ceil(n / length)
    assert length == other
    assert tiles * (tiles + 1) // 2 * length**2 < 1.15 * n * (n + 1) / 2
