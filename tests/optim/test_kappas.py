"""Every kappa is convex, and value, subgradient, conjugate and gauge belong to each other.

All kappas are evaluated in one compiled program for each dtype, and the tests look at its results.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optim.kappa_family import FULL_DOMAIN, KAPPAS, SHAPE, SIMPLEX, inner_point
from theorylab.optim import kappas

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
SLACK = {np.float64: 1e-9, np.float32: 1e-4}
every_kappa = pytest.mark.parametrize("name", KAPPAS)
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
PLAIN, NEGATIVE, HUGE, TINY = range(9), 9, 10, 11


def momenta(dtype):
    """Nine arrays of several scales, with ties and zeros; the third one negated, huge and tiny."""
    rng = np.random.default_rng(0)
    drawn = [10.0**k * rng.normal(size=SHAPE) for k in (-2, -1, 0, 0, 0, 1)]
    tied = np.where(rng.uniform(size=SHAPE) < 0.5, 0.25, -0.25)
    few = np.zeros(SHAPE)
    few[2, 1] = -3.0
    limits = np.finfo(dtype)
    far = [-drawn[2], (float(limits.max) / 1e3) * drawn[2], (float(limits.tiny) * 1e3) * drawn[2]]
    return np.asarray([*drawn, tied, few, np.zeros(SHAPE), *far], dtype)


def inner_points(name):
    """Points inside the domain of the conjugate, and outside."""
    drawn = np.random.default_rng(1).normal(size=(9, *SHAPE))
    return np.stack([inner_point(name, y) for y in drawn]), np.abs(drawn)


@cache
def table(dtype):
    """What every kappa says at its points; each of its functions is compiled once."""
    slack = SLACK[dtype]
    factors = {"in": 1 + slack / 4, "out": 1 / (1 + 4 * slack), "deep": 3.0}

    def at(function, **stacks):
        found = jax.vmap(function)(jnp.concatenate(list(stacks.values())))
        ends = np.cumsum([len(stack) for stack in stacks.values()])[:-1]
        return dict(zip(stacks, jnp.split(found, ends), strict=True))

    def looked_at(kappa, m, y, z):
        grad, back = jax.vmap(kappa.grad)(m), jax.vmap(kappa.conjugate_grad)(y)
        values = at(kappa.value, value=m, value_back=back)
        more = {"y": y, "grad": grad, "back": back}
        scaled = {}
        if kappa.gauge is not None:
            more |= at(kappa.gauge, gauge=z, gauge_of_7=7 * z, gauge_of_0=0 * z)
            scaled = {w: z / (more["gauge"] * t)[:, None, None] for w, t in factors.items()}
        return values | more | at(kappa.conjugate, end=grad, inside=y, **scaled)

    with jax.enable_x64(dtype is np.float64), jax.numpy_dtype_promotion("strict"):
        points = {
            name: (momenta(dtype), *(part.astype(dtype) for part in inner_points(name)))
            for name in KAPPAS
        }
        program = jax.jit(lambda points: {n: looked_at(KAPPAS[n], *p) for n, p in points.items()})
        return jax.tree.map(np.asarray, program(points))


def products(m, y):
    """All inner products of two stacks of arrays."""
    return np.einsum("iab,jab->ij", np.float64(m), np.float64(y))


@both_dtypes
@every_kappa
def test_fenchel_and_young_with_equality_at_the_subgradient(name, dtype):
    found, m = table(dtype)[name], momenta(dtype)
    assert found["grad"].dtype == dtype and found["grad"].shape == m.shape
    m, y = m[PLAIN], found["grad"][PLAIN]
    values, ends = np.float64(found["value"][PLAIN]), np.float64(found["end"][PLAIN])
    assert np.isfinite(ends).all(), "subgradients lie in the domain of the conjugate"

    p = products(m, y)
    gap = values[:, None] + ends - p  # at m_i, y_j
    tol = TOLERANCE[dtype] * np.maximum(1, np.abs(values[:, None]) + np.abs(ends))
    assert (np.abs(np.diag(gap)) <= np.diag(tol)).all()
    assert (gap >= -tol).all()
    monotone = np.diag(p)[:, None] + np.diag(p) - p - p.T  # <m_i - m_j, y_i - y_j>
    assert (monotone >= -(tol + tol.T)).all()


@both_dtypes
@every_kappa
def test_the_subgradient_of_the_conjugate_goes_back(name, dtype):
    found = table(dtype)[name]
    values = np.float64(found["value_back"])
    gap = values[:, None] + found["inside"] - products(found["back"], found["y"])
    tol = TOLERANCE[dtype] * max(1, np.abs(values).max())
    np.testing.assert_allclose(np.diag(gap), 0, atol=tol)
    assert gap.min() >= -tol


@both_dtypes
@every_kappa
def test_the_gauge_is_where_the_conjugate_becomes_infinite(name, dtype):
    found = table(dtype)[name]
    if name in FULL_DOMAIN:
        assert KAPPAS[name].gauge is None
        return
    np.testing.assert_allclose(found["gauge_of_7"], 7 * found["gauge"], rtol=4e-6)
    assert (found["gauge_of_0"] == 0).all()
    assert np.isfinite(found["in"]).all() and (found["out"] == np.inf).all()
    if name in SIMPLEX:
        assert (found["deep"] == np.inf).all(), "a gauge below 1 does not mean inside"
    else:
        assert np.isfinite(found["deep"]).all()


def test_the_distance_is_how_far_the_gauge_is_above_1():
    y = np.float32([0.5, -3.0])
    assert float(kappas.l1().distance(y)) == 2.0 and float(kappas.l1().distance(y / 3)) == 0.0
    assert float(kappas.power(3).distance(y)) == 0.0


def test_the_distance_to_the_simplex_is_that_of_linear_programming(x64):
    from scipy.optimize import linprog

    kappa, rng = kappas.logsumexp(), np.random.default_rng(3)
    assert float(kappa.gauge(np.array([0.2, 0.3, 0.0]))) == pytest.approx(0.5)
    assert float(kappa.gauge(np.array([0.2, -0.3, 0.0]))) == np.inf
    for y in [*rng.normal(size=(4, 3)), np.array([0.2, 0.3, 0.1]), np.array([-1.0, -0.5, -0.2])]:
        # min sum t with |y - s| <= t, s >= 0, sum s = 1.
        eye = np.eye(3)
        found = linprog(
            np.r_[np.zeros(3), np.ones(3)],
            A_ub=np.block([[eye, -eye], [-eye, -eye]]),
            b_ub=np.r_[y, -y],
            A_eq=[np.r_[np.ones(3), np.zeros(3)]],
            b_eq=[1.0],
        )
        np.testing.assert_allclose(kappa.distance(y), found.fun, atol=1e-9)


@both_dtypes
@every_kappa
def test_the_subgradient_is_odd_where_it_says_so_and_no_scale_breaks_it(name, dtype):
    found, limits = table(dtype)[name], np.finfo(dtype)
    grad, base = found["grad"], found["grad"][2]
    assert KAPPAS[name].odd == (name not in SIMPLEX)
    if name not in SIMPLEX:
        tol = 10 * limits.eps if "nuclear" in name or name == "spectral" else 0
        np.testing.assert_allclose(grad[NEGATIVE], -base, rtol=0, atol=tol)
        assert (grad[8] == 0).all(), "0 at 0"
    if name in FULL_DOMAIN:
        return
    assert np.isfinite(grad).all() and np.isfinite(found["end"]).all()
    has_a_scale = ("soft(0.3)", "huber(0.5)", "relativistic(0.5)", "logcosh(2)", *SIMPLEX)
    if name not in has_a_scale:
        for place in (HUGE, TINY):
            np.testing.assert_allclose(grad[place], base, rtol=1e-4, atol=1e-5)


def test_values_that_cancel_and_overflow_are_right_in_float32():
    names = ("huber(0.5)", "relativistic(0.5)", "logcosh(2)", "lp(4)", "l2", "logsumexp")
    values = jax.jit(lambda m: [KAPPAS[name].value(m) for name in names])
    tiny, huge = np.float32([1e-6, -2e-6]), np.float32([1.5e38, -3e37])
    np.testing.assert_allclose(values(tiny)[:3], 5e-12, rtol=1e-5)
    wanted = [*3 * [1.8], 1.5 * (1 + 0.2**4) ** 0.25, 1.5 * 1.04**0.5, 1.5]
    np.testing.assert_allclose(np.float64(values(huge)) / 1e38, wanted, rtol=1e-5)
    np.testing.assert_allclose(values(np.float32([1e4, 1e4]))[-1], 1e4 + np.log(2))

    conjugate = jax.jit(KAPPAS["logcosh(2)"].conjugate)
    np.testing.assert_allclose(conjugate(tiny), 5e-12 / 4, rtol=1e-4)
    entropy = 1.5 / 2 * np.log(1.5) + 0.5 / 2 * np.log(0.5)
    np.testing.assert_allclose(conjugate(np.float32([1, -0.5])), (np.log(2) + entropy) / 2, 1e-6)


def matrices(dtype):
    """Well conditioned ones, square ones, with a condition number of 1e4, of rank 2."""
    rng = np.random.default_rng(4)
    tall, square = rng.normal(size=(9, 5)), rng.normal(size=(12, 12))
    u, _, v = np.linalg.svd(square)
    found = {
        "tall": tall,
        "wide": np.stack([tall.T, rng.normal(size=(5, 9))]),
        "square": square,
        "hard": u * np.logspace(0, -4, 12) @ v,
        "low": rng.normal(size=(9, 2)) @ rng.normal(size=(2, 5)),
    }
    return {name: m.astype(dtype) for name, m in found.items()}


def polar(m, rank):
    u, _, v = np.linalg.svd(np.asarray(m, np.float64), full_matrices=False)
    return u[..., :rank] @ v[..., :rank, :]


@both_dtypes
def test_the_subgradient_of_the_nuclear_norm_is_the_exact_polar_factor(dtype):
    given = matrices(dtype)
    with jax.enable_x64(dtype is np.float64):
        exactly, by_products = kappas.nuclear(), kappas.nuclear(method="newton_schulz")
        factors = jax.jit(lambda ms: {n: exactly.grad(m) for n, m in ms.items()})(given)
        iterated = jax.jit(by_products.grad)(given["wide"])
    for name, m in given.items():
        exact = polar(m, 2 if name == "low" else min(m.shape[-2:]))
        assert factors[name].dtype == dtype
        tol = 1e-6 if dtype == np.float32 else 1e-10
        np.testing.assert_allclose(factors[name], exact, atol=tol, err_msg=name)
    exact, tol = polar(given["wide"], 5), 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(iterated, exact, atol=tol)


def test_the_iteration_holds_what_it_promises_of_small_singular_values(x64):
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(2))
    m = u * np.array([1.0, 0.5, 0.1, 0.01, 1e-4, 0.0]) @ v
    bound = min(np.linalg.norm(m), np.sqrt(np.linalg.norm(m, 1) * np.linalg.norm(m, np.inf)))
    assert 0.01 / bound > 5e-3
    factor = jax.jit(kappas.nuclear(method="newton_schulz", smallest=5e-3).grad)(m)
    ends = np.diag(u.T @ np.asarray(factor) @ v.T)
    np.testing.assert_allclose(ends[:4], 1, atol=1e-12)
    assert 0 < ends[4] < 1 and abs(ends[5]) < 1e-12


def test_norms_of_matrices_are_those_of_numpy_and_dual(x64):
    m = matrices(np.float64)["wide"]
    nuclear = [np.linalg.norm(one, "nuc") for one in m]
    spectral = [np.linalg.norm(one, 2) for one in m]
    np.testing.assert_allclose(kappas.nuclear().value(m), sum(nuclear))
    np.testing.assert_allclose(kappas.spectral().value(m), sum(spectral))
    np.testing.assert_allclose(kappas.nuclear().gauge(m), max(spectral))
    np.testing.assert_allclose(kappas.spectral().gauge(m), max(nuclear))
    np.testing.assert_allclose(kappas.spectral().grad(m), polar(m, 1), atol=1e-12)


def test_vectors_are_rows_scalars_are_numbers_and_nothing_is_nothing():
    arrays = [np.full(shape, -0.75, np.float32) for shape in ((), (4,), (3, 0))]
    names = ("l2", "nuclear", "nuclear, iterated", "spectral", "rows")
    fields = ("grad", "value", "gauge")
    seen = jax.jit(
        lambda ms: [[[getattr(KAPPAS[n], f)(m) for f in fields] for m in ms] for n in names]
    )
    wanted, *others = seen(arrays)
    for name, found in zip(names[1:], others, strict=True):
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=name)
    empty = jax.jit(lambda m: [kappa.grad(m) for kappa in KAPPAS.values()])(np.zeros((0, 3)))
    assert all(m.shape == (0, 3) for m in empty)


def test_members_that_coincide_agree():
    pairs = [
        (kappas.top_k(1), kappas.linf()),
        (kappas.top_k(12), kappas.l1()),
        (kappas.lp(1), kappas.l1()),
        (kappas.lp(2), kappas.l2()),
        (kappas.group((0, 1)), kappas.l2()),
        (kappas.group(-1), kappas.rows()),
    ]
    fields = ("value", "grad", "conjugate", "gauge")
    seen = jax.jit(lambda m: [[[getattr(k, f)(m) for f in fields] for k in ks] for ks in pairs])
    for found, (one, other) in zip(seen(momenta(np.float32)[3]), pairs, strict=True):
        for got, wanted, field in zip(*found, fields, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6, err_msg=f"{one}, {other}, {field}")


def test_exactly_k_are_taken_also_where_many_are_equal(x64):
    rng = np.random.default_rng(6)
    kinds = [np.sign(rng.normal(size=40)), rng.normal(size=40), np.r_[np.zeros(38), 1.0, -2.0]]
    counts = (1, 7, 39)
    directions = jax.jit(jax.vmap(lambda m: [kappas.top_k(k).grad(m) for k in counts]))
    for k, found in zip(counts, directions(np.stack(kinds)), strict=True):
        for m, direction in zip(kinds, found, strict=True):
            wanted = np.argsort(-np.abs(m), kind="stable")[:k]
            np.testing.assert_array_equal(
                np.flatnonzero(direction), np.sort(wanted[m[wanted] != 0])
            )


def test_half_precision_is_computed_in_float32_and_directions_keep_the_dtype():
    m = jnp.asarray(momenta(np.float32)[2], jnp.bfloat16)

    @jax.jit
    def looked_at(m):
        grads = {name: kappa.grad(m) for name, kappa in KAPPAS.items()}
        wide = {name: kappa.grad(m.astype(jnp.float32)) for name, kappa in KAPPAS.items()}
        return grads, wide, {name: KAPPAS[name].conjugate(y) for name, y in grads.items()}

    grads, wide, ends = looked_at(m)
    unit = 2 * float(jnp.finfo(m.dtype).eps)
    for name in KAPPAS:
        assert (grads[name].dtype, wide[name].dtype) == (m.dtype, jnp.float32), name
        got = np.float32(grads[name])
        np.testing.assert_allclose(got, wide[name], rtol=unit, atol=unit, err_msg=name)
        assert ends[name].dtype == jnp.float32 and np.isfinite(ends[name]), name
    half = kappas.l2().grad(jnp.asarray([3.0, 4.0], jnp.float16))
    assert half.dtype == jnp.float16
    assert kappas.l2().conjugate(half) == 0


@pytest.mark.parametrize("name", ["l2", "rows", "nuclear", "spectral"])
def test_values_of_norms_have_their_subgradient_as_derivative(name):
    m = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    kappa = KAPPAS[name]
    np.testing.assert_allclose(jax.grad(kappa.value)(m), kappa.grad(m), atol=1e-6)
    assert np.isfinite(jax.grad(kappa.distance)(3 * m)).all()
    np.testing.assert_array_equal(jax.grad(kappa.value)(0 * m), 0 * m)
