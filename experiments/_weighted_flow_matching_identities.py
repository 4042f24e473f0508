r"""What must hold of couplings and flows whatever the sizes: closed forms against the library.

1. ``transport.coupling`` between the densities of N(0, 1) and N(m, 1) on a grid of spacing h, Gibbs
   weights: means, variances and correlation are the closed forms. Sums over a grid of Gaussians of
   standard deviation s err by :math:`2 e^{-2 \pi^2 s^2 / h^2}`, which at h <= 0.15 is nothing for
   all epsilon here; the ends of the grid cut off 1e-14 of the mass.
2. The same for the entropic plan. It is met within 1e-9 in L1 (``tol``), and products of
   coordinates are below 80 in size.
3. The total variation between the two, summed over the grid, is the closed form. Where densities
   cross, at g = 0, half the sum of abs g errs by at most :math:`h^2 / 8` times the integral of
   :math:`\|\nabla g\|` along the crossing, which is below KINK = 2.5 for all epsilon here.
4. Points that follow the velocity of one component end where the affine map says.
5. The flow of the ring carries the density of the tilted source, the Gibbs coupling's own, into
   that of the tilted target: along each path the logarithm changes by minus the integral of the
   divergence. Independent pairs (no tilt) included.

4 and 5 hold up to the error of the Runge-Kutta method, which is :math:`O(\text{steps}^{-4})`: twice
the steps leave a sixteenth. 1e-6 is allowed.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from experiments import _weighted_flow_matching_theory as theory
from theorylab import transport

KINK = 2.5
# Points whose paths are followed in identity 5, between the ring's axes of symmetry and near them.
POINTS = np.array([[0.3, 0.1], [1.0, 0.9], [-2.0, 0.4], [0.0, 1.5], [-0.7, -2.2]])


def on_a_grid(epsilons: np.ndarray, shift: float, nodes: int) -> dict[str, np.ndarray]:
    """Return the largest differences of identities 1 to 3, and what is allowed in 3."""
    grid, h = np.linspace(-theory.REACH, shift + theory.REACH, nodes, retstep=True)
    mu, nu = (np.exp(-((grid - mean) ** 2) / 2) for mean in (0, shift))
    # In the plane, as samples are: what is compiled for clouds of as many points serves again.
    plane = np.stack([grid, np.zeros(nodes)], 1)
    points = jnp.broadcast_to(plane, (len(epsilons), nodes, 2))
    arguments = {"epsilon": jnp.asarray(epsilons), "a": mu / mu.sum(), "b": nu / nu.sum()}
    found = {
        kind: transport.coupling(points, points, kind=kind, **arguments)
        for kind in ("gibbs", "newton")
    }
    if not bool(found["newton"].converged.all()):
        raise ArithmeticError(f"the entropic plan reports {found['newton'].status.tolist()}")
    plans = {kind: np.asarray(c.plan) for kind, c in found.items()}
    worst = {}
    for kind, formula in (("gibbs", theory.gibbs), ("newton", theory.entropic)):
        gaps = []
        for plan, epsilon in zip(plans[kind], epsilons, strict=True):
            rows, columns = plan.sum(1), plan.sum(0)
            x, y = rows @ grid, columns @ grid
            deviations = rows @ (grid - x) ** 2, columns @ (grid - y) ** 2
            together = (grid - x) @ plan @ (grid - y)
            wanted = formula(epsilon, shift)
            gaps += [x - wanted.x, y - wanted.y, deviations[0] - wanted.variance]
            gaps += [
                deviations[1] - wanted.variance, together - wanted.correlation * wanted.variance
            ]  # fmt: skip
        worst[f"grid_{kind}"] = np.abs(gaps).max()
    apart = 0.5 * np.abs(plans["gibbs"] - plans["newton"]).sum((1, 2))
    exact = [theory.distance(epsilon, shift, "gibbs", 1) for epsilon in epsilons]
    return worst | {
        "grid_distance": np.abs(apart - exact).max(),
        "grid_distance_allowed": np.asarray(h**2 / 8 * KINK),
    }


def of_flows(
    epsilons: np.ndarray, shift: float, ring: theory.Target, points: np.ndarray, steps: int
) -> dict[str, np.ndarray]:
    """Return the largest differences of identities 4, for points (n, 2), and 5."""
    affine, density = [], []
    for epsilon in [*epsilons, np.inf]:
        wanted = points + np.array([shift / (1 + 4 / epsilon), 0.0])
        affine.append(np.abs(ends(epsilon, theory.shifted(shift), points, steps) - wanted).max())

        pairs = theory.components(jnp.asarray(2 / epsilon), ring)
        state = np.concatenate([POINTS, np.zeros((len(POINTS), 1))], 1)
        found = np.asarray(theory.flow(_with_divergence, pairs, jnp.asarray(state), steps))
        before, after = (
            _log_density(np.asarray(pairs.means[side]), float(pairs.covariance[side, side]), points)
            for side, points in ((0, POINTS), (1, found[:, :2]))
        )
        density.append(np.abs(before - found[:, 2] - after).max())
    return {"flow_affine": np.max(affine), "flow_density": np.max(density)}


def _log_density(means: np.ndarray, variance: float, points: np.ndarray) -> np.ndarray:
    """Of the mixture, with equal weights."""
    each = stats.norm.logpdf(points[:, None], means, np.sqrt(variance)).sum(-1)
    return np.logaddexp.reduce(each, 1) - np.log(len(means))


def _with_divergence(pairs: theory.Components, state: jax.Array, t: jax.Array) -> jax.Array:
    """Velocity, and its divergence, of points with a third coordinate that collects it."""

    def at(x: jax.Array) -> jax.Array:
        return theory.velocity(pairs, x[None], t)[0]

    points = state[:, :2]
    divergence = jax.vmap(lambda x: jnp.trace(jax.jacfwd(at)(x)))(points)
    return jnp.concatenate([theory.velocity(pairs, points, t), divergence[:, None]], 1)


def ends(epsilon: float, target: theory.Target, points: np.ndarray, steps: int) -> np.ndarray:
    """Return where points (n, d) end in the flow of the Gibbs coupling."""
    pairs = theory.components(jnp.asarray(2 / epsilon), target)
    return np.asarray(theory.flow(theory.velocity, pairs, jnp.asarray(points), steps))


def source_nodes(radial: int = 40, angular: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return points (k, 2) and weights of a rule for N(0, I), for what the ring's symmetry spares.

    Gauss and Laguerre in r^2 / 2, equidistant angles over an eighth of the circle.

    Examples
    --------
    >>> points, weights = source_nodes()
    >>> round(float(weights @ (points**2).sum(1)), 12)
    2.0
    """
    nodes, weights = np.polynomial.laguerre.laggauss(radial)
    angles = 2 * np.pi / theory.MODES * (np.arange(angular) + 0.5) / angular
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    points = np.sqrt(2 * nodes)[:, None, None] * directions
    return points.reshape(-1, 2), np.repeat(weights / angular, angular)
