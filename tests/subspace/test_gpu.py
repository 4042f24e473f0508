"""On a GPU: the same weights, an exact transpose, and the time of a step.

``JAX_PLATFORMS=cuda,cpu python -m pytest tests/subspace/test_gpu.py`` on a machine that has one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import _subspace_worker as measured
from theorylab import subspace

SIZE, D = 2**22, 1000


@pytest.fixture(autouse=True)
def _on_a_gpu():
    if jax.default_backend() != "gpu":
        pytest.skip("needs a GPU")


def test_the_transpose_is_exact_where_products_are_in_tf32_by_default():
    apply, back = measured.programs("hadamard", D, SIZE)
    theta, vector = measured.drawn(2, D), measured.drawn(1, SIZE)
    assert measured.adjoint_error(apply(theta), back(vector), vector, theta) <= 1e-6
    # P^T P = I, since 1024 divides D; TF32 would be off by 1e-3.
    np.testing.assert_allclose(back(apply(theta)), theta, atol=1e-5)


def test_the_weights_are_those_of_the_cpu():
    like = jax.ShapeDtypeStruct((199_210,), jnp.float32)
    theta = np.random.default_rng(0).normal(size=750).astype(np.float32)
    found = []
    for device in (jax.devices("gpu")[0], jax.devices("cpu")[0]):
        with jax.default_device(device):
            p = subspace.hadamard(750, like=like, key=jax.random.key(3))
            found.append(np.asarray(jax.jit(lambda p, t: p.apply(t))(p, theta)))
    np.testing.assert_allclose(*found, atol=1e-6 * np.abs(theta).max())


@pytest.mark.parametrize("widths", [(784, 400, 400, 10), (1024, 2048, 2048, 1000)])
def test_a_step_takes_at_most_half_as_long_again_as_the_direct_one(widths):
    found = measured.steps(list(widths), 128, [("hadamard", 750)], rounds=60)
    own, direct = (min(found["times"][name]["wall"]) for name in ("hadamard 750", "direct"))
    assert own <= 1.5 * direct
