"""What Lion-K minimises, and that its Lyapunov function falls as the derivation says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optim.kappa_family import KAPPAS, SHAPE, inner_point
from theorylab import optim
from theorylab.optim import kappas

B1, B2, LAM, ETA = 0.9, 0.99, 0.8, 0.01
RATES = {"b1": B1, "b2": B2, "weight_decay": LAM}
rng = np.random.default_rng(0)
CURVATURE, MIDDLE = rng.uniform(0.5, 2, SHAPE), 1.5 * rng.normal(size=SHAPE)
SMOOTHNESS = 2 + 3  # of f below: of the quadratic and of the waves


def f(x):
    """Not convex."""
    return jnp.sum(CURVATURE * (x - MIDDLE) ** 2 / 2 + jnp.cos(3 * x) / 3)


def test_the_bound_on_a_step_is_violated_at_0_of_5000_steps_for_every_kappa(x64):
    makers = {
        name: (
            optim.lion_k(ETA, kappa, B1, B2, LAM),
            optim.lyapunov(f, kappa, **RATES, learning_rate=ETA, smoothness=SMOOTHNESS),
        )
        for name, kappa in KAPPAS.items()
    }

    def step(carry, _):
        seen = {}
        for name, (tx, at) in makers.items():
            x, state = carry[name]
            seen[name] = at(x, -state[0].mu)
            updates, state = tx.update(jax.grad(f)(x), state, x)
            carry = carry | {name: (x + updates, state)}
        return carry, seen

    drawn = rng.normal(size=SHAPE)
    start = {name: jnp.asarray(inner_point(name, drawn)) / LAM for name in KAPPAS}
    start = {name: (x, makers[name][0].init(x)) for name, x in start.items()}
    _, path = jax.jit(lambda start: jax.lax.scan(step, start, None, length=5001))(start)
    for name in KAPPAS:
        H, F, dissipation = (np.asarray(part) for part in path[name])
        assert np.isfinite(H).all() and np.isfinite(dissipation).all(), name
        excess = np.diff(H) + dissipation[:-1] - 1e-12 * np.abs(H[:-1])
        assert (excess > 0).sum() == 0, (name, excess.max())
        assert F[-1] < F[0] - 1, "a run that stands still tests nothing"
        assert (H >= F - 1e-12 * np.abs(F)).all()


def flow(kappa, x, m):
    g = jax.grad(f)(x)
    return kappa.grad(B1 * m - (1 - B1) * g) - LAM * x, -(1 - B2) * (g + m)


@pytest.mark.parametrize("name", ["l2", "huber(0.5)", "logsumexp", "power(1.5)", "nuclear"])
def test_along_the_flow_the_derivative_of_h_is_minus_the_dissipation(name, x64):
    kappa, drawn, dt = KAPPAS[name], rng.normal(size=(2, *SHAPE)), 1e-4
    at = optim.lyapunov(f, kappa, **RATES)

    @jax.jit
    def both(x, m):
        v, n = flow(kappa, x, m)
        steps = jnp.array([-2.0, -1.0, 1.0, 2.0]) * dt
        around = jax.lax.map(lambda t: at(x + t * v, m + t * n).H, steps)
        slope = jnp.sum(around * jnp.array([1.0, -8.0, 8.0, -1.0])) / (12 * dt)
        return slope, at(x, m).dissipation

    slope, dissipation = both(inner_point(name, drawn[0]) / LAM, drawn[1])
    assert dissipation > 1e-3
    np.testing.assert_allclose(slope, -dissipation, rtol=1e-8)


def test_h_falls_by_the_integral_of_the_dissipation_along_the_flow(x64):
    kappa = kappas.relativistic(0.5)
    at, dt = optim.lyapunov(f, kappa, **RATES), 0.01

    def step(point, _):
        def moved(slope, t):
            return jax.tree.map(lambda p, s: p + t * s, point, slope)

        k1 = flow(kappa, *point)
        k2 = flow(kappa, *moved(k1, dt / 2))
        k3 = flow(kappa, *moved(k2, dt / 2))
        k4 = flow(kappa, *moved(k3, dt))
        slope = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
        return moved(slope, dt), at(*point)

    start = jnp.zeros(SHAPE), jnp.zeros(SHAPE)
    path = jax.jit(lambda start: jax.lax.scan(step, start, None, length=3001)[1])(start)
    H, _, lost = (np.asarray(part) for part in path)
    simpson = dt / 3 * (lost[0] + lost[-1] + 4 * lost[1:-1:2].sum() + 2 * lost[2:-1:2].sum())
    assert H[0] - H[-1] > 1
    np.testing.assert_allclose(H[0] - H[-1], simpson, rtol=1e-7)
    assert (np.diff(H) <= 0).all() and (lost >= 0).all()


def test_trees_are_sums_over_leaves_and_float32_stays(strict_promotion):
    kappa = kappas.l2()
    x = {"a": jnp.array([0.3, 0.4]), "b": jnp.array(0.25)}
    m = {"a": jnp.array([3.0, -4.0]), "b": jnp.array(2.0)}

    def loss(x):
        return jnp.sum(x["a"] ** 2) + x["b"]

    at = jax.jit(optim.lyapunov(loss, kappa, **RATES, learning_rate=ETA))
    H, F, dissipation = at(x, m)
    assert H.dtype == F.dtype == dissipation.dtype == jnp.float32
    eps = ETA / (1 - ETA * LAM)
    c = eps * B1 / (eps * LAM * (1 - B1) + 1 - B2)
    np.testing.assert_allclose(F, 0.5, rtol=1e-6)
    np.testing.assert_allclose(H, 0.5 + c * (5 + 2 - LAM * (0.9 - 1.6 + 0.5)), rtol=1e-6)
    np.testing.assert_allclose(optim.objective(loss, kappa, LAM)(x), 0.5, rtol=1e-6)
    far = jax.tree.map(lambda v: 10 * v, x)
    assert optim.objective(loss, kappa, LAM)(far) == at(far, m).H == np.inf


def test_the_terms_of_a_step_are_those_of_numpy(x64):
    """Written once more, in NumPy, for Lion in two dimensions."""
    x, m, a = np.array([0.4, -0.9]), np.array([0.7, 0.1]), np.array([2.0, 3.0])
    at = optim.lyapunov(
        lambda x: jnp.sum(a * x**2) / 2, kappas.l1(), **RATES, learning_rate=ETA, smoothness=3.0
    )
    eps, g = ETA / (1 - ETA * LAM), a * x
    c = eps * B1 / (eps * LAM * (1 - B1) + 1 - B2)
    u, m_next = B1 * m - (1 - B1) * g, B2 * m - (1 - B2) * g
    x_next = x + ETA * (np.sign(u) - LAM * x)
    np.testing.assert_allclose(x_next, (x + eps * np.sign(u)) / (1 + eps * LAM))  # implicit decay
    v = np.sign(u) - LAM * x_next
    first = eps * (1 + c * LAM) * v @ u
    second = c * (1 - B2) / (B2 - B1) * (np.sign(u) - np.sign(m_next)) @ (u - m_next)
    curved = 3.0 / 2 * np.sum((x_next - x) ** 2)
    np.testing.assert_allclose(jax.jit(at)(x, m).dissipation, first + second - curved, rtol=1e-12)


def test_without_decay_there_is_no_constraint_and_h_still_falls(x64):
    kappa = kappas.l1()
    rates = {"b1": B1, "b2": B2, "weight_decay": 0.0}
    at = optim.lyapunov(f, kappa, **rates, learning_rate=ETA, smoothness=SMOOTHNESS)
    tx = optim.lion_k(ETA, kappa, **rates)

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(jax.grad(f)(x), state, x)
        return (x + updates, state), at(carry[0], -carry[1][0].mu)

    start = 50 * jnp.asarray(MIDDLE)  # far outside of every box
    scan = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=500))
    H, F, lost = (np.asarray(part) for part in scan(start)[1])
    assert (np.diff(H) + lost[:-1] <= 1e-12 * np.abs(H[:-1])).all() and F[-1] < F[0]
    np.testing.assert_allclose(F[0], f(start))
    assert optim.objective(f, kappa, 0) is f


def test_a_point_at_rest_of_lion_k_minimises_the_objective(x64):
    """With f a quadratic and huber, the minimum of F has a closed form: shrink, then clip."""
    e, target = 0.5, jnp.array([0.3, -2.0, 4.0])
    tx = optim.lion_k(0.01, kappas.huber(e), B1, B2, LAM)

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(x - target, state, x)
        return (x + updates, state), None

    x = jnp.zeros(3)
    (x, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=4000))(x)
    np.testing.assert_allclose(x, np.clip(target / (1 + e * LAM), -1 / LAM, 1 / LAM), rtol=1e-9)
    F = optim.objective(lambda x: jnp.sum((x - target) ** 2) / 2, kappas.huber(e), LAM)
    nudges = 1e-3 * rng.normal(size=(50, 3))
    around = [F(jnp.clip(x + nudge, -1 / LAM, 1 / LAM)) for nudge in nudges]
    assert F(x) <= min(around)


def test_a_kappa_of_ones_own_needs_value_gradient_and_conjugate(x64):
    own = kappas.Kappa(
        value=lambda m: jnp.sum(m**4) / 4,
        grad=lambda m: m**3,
        conjugate=lambda y: 0.75 * jnp.sum(jnp.abs(y) ** (4 / 3)),
    )
    x, m = jnp.asarray(rng.normal(size=(2, *SHAPE)))
    mine, listed = (
        jax.jit(optim.lyapunov(f, kappa, **RATES, learning_rate=ETA))(x, m)
        for kappa in (own, kappas.power(4))
    )
    np.testing.assert_allclose(mine, listed, rtol=1e-12)
    assert repr(own) == "Kappa(custom)" and repr(kappas.power(4)) == "Kappa(power(4))"
