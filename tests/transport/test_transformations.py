"""Solving composes with jit, vmap and batches, compiles once, and keeps its dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport
from theorylab.transport import _solve

METHODS = {
    "newton": {"method": "newton"},
    "sns": {"method": "sns"},
    "budget": {"method": "sns", "sparsify": "budget"},
    "sinkhorn": {"method": "sinkhorn"},
}


def batch(count=5, n=12, m=15):
    made = [families.small(n, m, seed) for seed in range(count)]
    return [np.stack([p[k] for p in made]) for k in range(3)]


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_its_problems_one_by_one(x64, name):
    costs, a, b = batch()

    def one(cost, a, b):
        return transport.solve(cost, a, b, epsilon=0.01, **METHODS[name])

    alone = [one(*problem) for problem in zip(costs, a, b, strict=True)]
    native = transport.solve(costs, a, b, epsilon=0.01, **METHODS[name])
    mapped = jax.vmap(one)(costs, a, b)
    for solution in (native, mapped):
        assert solution.status.tolist() == [0] * 5
        for field in ("f", "g", "value"):
            expected = np.stack([getattr(s, field) for s in alone])
            np.testing.assert_allclose(getattr(solution, field), expected, rtol=0, atol=1e-12)
        assert solution.num_steps.tolist() == [int(s.num_steps) for s in alone]
        np.testing.assert_allclose(solution.plan()[2], alone[2].plan(), atol=1e-12)
        np.testing.assert_allclose(solution.round()[1][2], alone[2].round()[1], rtol=1e-10)


def test_batches_share_masses_and_may_differ_in_epsilon(x64):
    costs, a, b = batch()
    epsilon = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    together = transport.solve(costs, a[0], b[0], epsilon=epsilon)
    one = transport.solve(costs[3], a[0], b[0], epsilon=0.04)
    np.testing.assert_allclose(together.value[3], one.value, rtol=1e-10)
    x = np.random.default_rng(0).normal(size=(5, 6, 2))
    clouds = transport.solve(transport.PointCloud(x, x[:, :4]), epsilon=0.1)
    own = transport.solve(transport.PointCloud(x[1], x[1, :4]), epsilon=0.1)
    np.testing.assert_allclose(clouds.value[1], own.value, rtol=1e-10)


def test_epsilon_under_vmap(x64):
    cost, a, b, _ = families.small()
    values = jax.vmap(lambda e: transport.solve(cost, a, b, epsilon=e).value)(
        jnp.array([0.02, 0.1])
    )
    np.testing.assert_allclose(
        values[0], transport.solve(cost, a, b, epsilon=0.02).value, rtol=1e-10
    )


def test_the_second_call_does_not_compile_again():
    cost, a, b, _ = (np.float32(v) for v in families.small(5, 11))
    transport.solve(cost, a, b, epsilon=0.1)
    compiled = _solve._solve._cache_size()
    transport.solve(cost + 1, b=b, a=a, epsilon=0.2, tol=1e-4)
    assert _solve._solve._cache_size() == compiled


def test_dtype_follows_the_input_and_half_precision_is_widened(x64):
    cost, a, b, _ = families.small()
    for given, expected in ((np.float64, np.float64), (np.float32, np.float32)):
        solution = transport.solve(given(cost), given(a), given(b), epsilon=0.1)
        assert {solution.f.dtype, solution.g.dtype, solution.value.dtype} == {np.dtype(expected)}
    half = transport.solve(jnp.asarray(cost, jnp.bfloat16), epsilon=0.1)
    assert half.value.dtype == np.float32


def test_promotion_is_never_implicit(x64, strict_promotion):
    cost, a, b, _ = families.small()
    for options in METHODS.values():
        assert transport.solve(cost, a, b, epsilon=0.1, **options).status == 0


def test_the_solution_is_the_same_whichever_side_is_larger(x64):
    cost, a, b, _ = families.small(8, 13)
    wide = transport.solve(cost, a, b, epsilon=0.02, tol=1e-12)
    tall = transport.solve(cost.T, b, a, epsilon=0.02, tol=1e-12)
    np.testing.assert_allclose(wide.f, tall.g, atol=1e-10)
    np.testing.assert_allclose(wide.plan(), tall.plan().T, atol=1e-12)


def products(jaxpr):
    """Precisions of every product of matrices, in loops and rules too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from products(inner)


def test_every_product_has_the_highest_precision():
    cost, a, b, _ = (np.float32(v) for v in families.small())

    def f(cost, x):
        solutions = [
            transport.solve(cost, a, b, epsilon=0.1, **options) for options in METHODS.values()
        ]
        cloud = transport.solve(transport.PointCloud(x, x), epsilon=0.1)
        return sum(s.plan()[0, 0] + s.value for s in (*solutions, cloud))

    x = np.ones((4, 20), np.float32)
    found = list(products(jax.make_jaxpr(jax.grad(f, (0, 1)))(cost, x).jaxpr))
    highest = jax.lax.Precision.HIGHEST
    assert len(found) > 20
    assert set(found) == {(highest, highest)}
