"""Problems that are spread over devices: a matrix with holes, points in blocks, sweeps."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.transport import families
from theorylab import transport

CASES = ("matrix", "points", "sweeps")


def _masses():
    _, a, b, _ = families.small(7, 13)
    a[2] = b[3] = 0
    return a / a.sum(), b / b.sum()


def _cosine(x, y):
    """Not defined at the origin, which no padding may add."""
    return 1 - jnp.sum(x * y) / jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y))


def _solution(name, t, mesh):
    a, b = _masses()
    cost, _, _, weights = families.small(7, 13)
    if name == "points":
        x, y = families.clouds(13, 0)
        cloud = transport.PointCloud(y + t, x[:7], _cosine, block=2)
        return transport.solve(cloud, None, a, epsilon=0.5, tol=1e-13, mesh=mesh)
    method = "newton" if name == "matrix" else "sinkhorn"
    holes = np.where((np.arange(7) == 2)[:, None] & (np.arange(13) < 9), np.inf, 0)
    cost = cost + t * weights + holes  # the point without mass reaches no one on some devices
    return transport.solve(cost, a, b, epsilon=0.05, tol=1e-13, method=method, mesh=mesh)


def solved(name, mesh=None):
    """What all processes can see of a solution, and a derivative."""

    def run(t):
        s = _solution(name, t, mesh)
        small = s.g if name == "points" else s.f
        return s.value + small[0], (s.value, s.marginal_error, s.status, small)

    if name == "sweeps":
        value, error, status, potential = jax.jit(run)(0.0)[1]
        slope = np.zeros(())
    else:
        slope, (value, error, status, potential) = jax.jit(jax.grad(run, has_aux=True))(0.0)
    names = ("value", "error", "status", "potential", "slope")
    return dict(zip(names, map(np.asarray, (value, error, status, potential, slope)), strict=True))
