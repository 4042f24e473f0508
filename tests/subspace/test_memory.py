"""What a projection keeps: temporaries read off the compiled program, and trees beyond 2^31."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from theorylab import subspace

ROOT = Path(__file__).parents[2]
FLOAT = 4  # bytes
GIB = 2**30


def shapes(size):
    """A tree of some leaves with ``size`` entries together."""
    rows = 2 ** (int(math.log2(size)) // 2)
    matrix = (rows, (size - rows) // rows - 1)
    rest = size - rows - math.prod(matrix)
    leaves = {"w": matrix, "b": (rows,), "v": (rest,)}
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in leaves.items()}


def loss(params, target):
    """Squared distance from the target, averaged over entries: no temporaries to speak of."""
    return sum(0.5 * jnp.mean((params[k] - target) ** 2) for k in params)


def memory(d, size):
    """What the compiler says of ``value_and_grad`` in the subspace, and of the direct one."""
    like = shapes(size)
    projection = subspace.hadamard(d, like=like, key=jax.random.key(0))
    assert projection.size == size
    theta, target = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((d,), ()))

    def within(projection, params0, theta, target):
        return jax.value_and_grad(subspace.wrap(loss, projection, params0))(theta, target)

    compiled = jax.jit(within).lower(projection, like, theta, target).compile()
    direct = jax.jit(jax.value_and_grad(loss)).lower(like, target).compile()
    return compiled.memory_analysis(), direct.memory_analysis()


def test_temporaries_are_at_most_three_vectors_of_the_parameters_and_independent_of_d():
    size = 2**22
    more = {}
    for d in (100, 10_000):
        ours, own = memory(d, size)
        more[d] = (ours.temp_size_in_bytes - own.temp_size_in_bytes) / (FLOAT * size)
    assert 0.5 < more[100] <= 3.0 and more[10_000] <= 3.0, more
    assert more[10_000] == pytest.approx(more[100], rel=0.05)


def test_what_is_kept_between_calls_is_theta_and_a_few_words():
    projection = subspace.hadamard(1000, like=shapes(2**22), key=jax.random.key(0))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(projection))
    assert held <= 64 + 2 * FLOAT * 1000


def test_two_to_the_26_parameters_fit_into_eight_gibibytes_by_the_compilers_account():
    size = 2**26
    ours, own = memory(1000, size)
    # Frozen parameters are the argument; parameters and gradients of the loss are temporaries.
    assert ours.argument_size_in_bytes >= FLOAT * size
    assert ours.temp_size_in_bytes - own.temp_size_in_bytes <= 3 * FLOAT * size
    whole = ours.argument_size_in_bytes + ours.output_size_in_bytes + ours.temp_size_in_bytes
    assert whole <= 8 * GIB


RUN = """
import json, resource, sys
import jax, jax.numpy as jnp
from theorylab import subspace

params = {"w": jnp.zeros((2**13, 2**13 - 1)), "b": jnp.zeros(2**13)}
p = subspace.hadamard(1000, like=params, key=jax.random.key(0))

def squares(q):
    return sum(jnp.sum(x**2) for x in q.values())

@jax.jit
def step(p, params, theta):
    return jax.value_and_grad(subspace.wrap(squares, p, params))(theta)

theta = jnp.linspace(-1, 1, 1000)
value, gradient = jax.block_until_ready(step(p, params, theta))
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "size": p.size,
    "value": float(value / jnp.sum(theta**2)),
    "gradient": float(jnp.abs(gradient - 2 * theta).max()),
    "gib": most / (2**30 if sys.platform == "darwin" else 2**20),
}))
"""


@pytest.mark.slow
def test_a_step_with_two_to_the_26_parameters_runs_in_six_gibibytes_and_keeps_lengths():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["size"] == 2**26
    # From zero the squares of the parameters are those of theta, since P^T P = I.
    assert found["value"] == pytest.approx(1.0, abs=1e-4)
    assert found["gradient"] <= 1e-4
    assert 0.75 <= found["gib"] <= 6  # frozen and moved parameters and a gradient at the least


def test_beyond_two_to_the_31_parameters_the_scope_must_be_leaves():
    like = {
        "a": jax.ShapeDtypeStruct((2**15, 2**15), jnp.float32),
        "b": jax.ShapeDtypeStruct((2**16, 2**14 + 1), jnp.bfloat16),
    }
    size = 2**31 + 2**16
    with pytest.raises(ValueError, match=r"scope.*leaf"):
        subspace.hadamard(1000, like=like, key=jax.random.key(0))
    projection = subspace.hadamard(1000, like=like, key=jax.random.key(0), scope="leaf")
    assert projection.size == size
    theta = jax.ShapeDtypeStruct((1000,), jnp.float32)
    found = jax.eval_shape(projection.apply, theta)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
        lambda x: (x.shape, x.dtype), like
    )
    assert jax.eval_shape(projection.transpose, like).shape == (1000,)
