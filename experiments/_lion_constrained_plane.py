r"""Lion-K on a function of two variables, and on its way into the constraint.

*In the plane* f is a bowl with waves,

.. math::

    f(x) = \tfrac12 |x - t|^2 + A \cos(k x_1) \cos(k x_2) .

The Hessian of the waves has the eigenvalues :math:`-A k^2 \cos(k x_1 \pm k x_2)`, so that the
gradient of f is Lipschitz with :math:`L = 1 + A k^2`, and f is not convex for :math:`A k^2 > 1`.

*Phase I* is looked at with gradients that do not come from any function, at a matrix far outside:
random ones of sizes from 1e-3 to 1e3, and *outward* ones, :math:`-M v` at every step with v a
subgradient of the distance at the start and M large.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab import optim
from theorylab.optim import kappas

TARGET = (1.45, 0.85)
HEIGHT, WAVES = 0.12, 5.0
SMOOTHNESS = 1 + HEIGHT * WAVES**2
START = (-0.45, -0.2)
B1, B2 = 0.9, 0.99

IN_THE_PLANE = {
    "l1": kappas.l1(),
    "l2": kappas.l2(),
    "linf": kappas.linf(),
    "soft": kappas.soft(0.3),
    "relativistic": kappas.relativistic(0.5),
    "power": kappas.power(2),
}

# Constraints of every kind, on matrices; for the norms outward gradients give equality.
CONSTRAINED = {
    "l1": kappas.l1(),
    "l2": kappas.l2(),
    "lp": kappas.lp(1.5),
    "linf": kappas.linf(),
    "top_k": kappas.top_k(3),
    "nuclear": kappas.nuclear(),
    "relativistic": kappas.relativistic(0.5),
    "logsumexp": kappas.logsumexp(),
}
NORMS = ("l1", "l2", "lp", "linf", "top_k", "nuclear")
SHAPE = (4, 3)
OUTWARD = 1e6


def f(x: Any) -> Any:
    """A bowl with waves, at a point (2,) or at points (..., 2)."""
    bowl = jnp.sum((x - jnp.asarray(TARGET)) ** 2, -1) / 2
    return bowl + HEIGHT * jnp.prod(jnp.cos(WAVES * x), -1)


def paths(rate: float, decay: float, steps: int) -> dict[str, np.ndarray]:
    """Return x (6, steps + 1, 2), H, F and dissipation (6, steps + 1) along each kappa's run."""

    def run(kappa: kappas.Kappa) -> Any:
        tx = optim.lion_k(rate, kappa, B1, B2, decay)
        at = optim.lyapunov(
            f, kappa, b1=B1, b2=B2, weight_decay=decay, learning_rate=rate, smoothness=SMOOTHNESS
        )

        def step(carry: Any, _: None) -> Any:
            x, state = carry
            updates, after = tx.update(jax.grad(f)(x), state, x)
            return (x + updates, after), (x, at(x, -state[0].mu))

        x = jnp.asarray(START)
        return jax.lax.scan(step, (x, tx.init(x)), None, length=steps + 1)[1]

    seen = jax.jit(lambda: [run(kappa) for kappa in IN_THE_PLANE.values()])()
    x, found = zip(*seen, strict=True)
    return {
        "x": np.stack(x),
        "H": np.stack([one.H for one in found]),
        "F": np.stack([one.F for one in found]),
        "lost": np.stack([one.dissipation for one in found]),
        "gauge": np.stack(
            [
                np.zeros(steps + 1) if kappa.gauge is None else jax.vmap(kappa.gauge)(decay * path)
                for kappa, path in zip(IN_THE_PLANE.values(), x, strict=True)
            ]
        ),
    }


def phase_one(rate: float, decay: float, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Return the distances (8, steps + 1) of decay times x, by random and by outward gradients."""
    rng = np.random.default_rng(seed)
    start = 8 * rng.normal(size=SHAPE) / decay
    noise = rng.normal(size=(steps, *SHAPE)) * 10.0 ** rng.uniform(-3, 3, (steps, 1, 1))

    def run(kappa: kappas.Kappa) -> Any:
        return jax.vmap(lambda gradients: path(kappa, gradients))(
            jnp.stack([jnp.asarray(noise), outward(kappa)])
        )

    def path(kappa: kappas.Kappa, gradients: Any) -> Any:
        tx = optim.lion_k(rate, kappa, B1, B2, decay)

        def step(carry: Any, g: Any) -> Any:
            x, state = carry
            updates, state = tx.update(g, state, x)
            return (x + updates, state), kappa.distance(decay * (x + updates))

        x = jnp.asarray(start)
        first = kappa.distance(decay * x)
        return jnp.append(first, jax.lax.scan(step, (x, tx.init(x)), gradients)[1])

    def outward(kappa: kappas.Kappa) -> Any:
        v = jax.grad(lambda x: kappa.distance(decay * x))(jnp.asarray(start))
        return jnp.broadcast_to(-OUTWARD * v, (steps, *SHAPE))

    both = np.stack(jax.jit(lambda: [run(kappa) for kappa in CONSTRAINED.values()])())
    return {"random": both[:, 0], "outward": both[:, 1]}
