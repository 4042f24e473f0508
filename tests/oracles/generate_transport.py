"""Writes transport_peers.npz: transport problems solved by OTT-JAX and by POT, in float64.

Needs the extra ``interop``; with the environment of ``make bench``, from the root of the checkout:

    .venv/bin/python tests/oracles/generate_transport.py

For each case NAME/EPSILON of transport_problems.py:

* ``NAME/EPSILON/ott``: the ``reg_ot_cost`` of OTT's plain log-domain Sinkhorn, which is
  <P, C> + epsilon KL(P | a b^T), the value as we define it; that it is, is asserted here from OTT's
  potentials, and that both marginals of their plan, summed, are met within 1e-9 in L1;
* ``NAME/EPSILON/f``, ``g``: its potentials, as it has them: P = exp((f + g - C) / epsilon), with
  the masses inside, so that they are -inf where there is no mass;
* ``NAME/EPSILON/error`` and ``iterations``: that L1 error, and what it took.

For each problem ``NAME/emd``: the exact unregularised cost by POT's network simplex (``ot.emd2``),
asserted from its plan and its potentials; and ``NAME/checksum``. Beside them ``digest`` of the
sources that made the file and ``versions``.
"""

# ruff: noqa: T201

import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent.parent)]
from architectures import digest  # noqa: E402
from transport_problems import PROBLEMS, build, checksum  # noqa: E402

SOURCES = (here / "generate_transport.py", here / "transport_problems.py")
# OTT sums the error of one marginal; the other one is met by its last update.
THRESHOLD, MOST = 5e-10, 100_000


@partial(jax.jit, static_argnames="most")
def sinkhorn(cost, a, b, epsilon, most):
    """OTT's potentials, value and number of iterations."""
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    problem = LinearProblem(Geometry(cost_matrix=cost, epsilon=epsilon), a, b)
    solver = Sinkhorn(threshold=THRESHOLD, max_iterations=most, inner_iterations=100)
    out = solver(problem)
    return out.f, out.g, out.reg_ot_cost, out.n_iters


def checked(cost, a, b, epsilon):
    """Solve, and check value and marginals from the potentials alone."""
    found = sinkhorn(jnp.asarray(cost), jnp.asarray(a), jnp.asarray(b), epsilon, MOST)
    f, g, value, iterations = (np.asarray(v) for v in found)
    live, column = a > 0, b > 0
    exponent = (f[live, None] + g[None, column] - cost[np.ix_(live, column)]) / epsilon
    plan = np.exp(exponent)
    assert np.isneginf(f[~live]).all() and np.isneginf(g[~column]).all()
    error = np.abs(plan.sum(1) - a[live]).sum() + np.abs(plan.sum(0) - b[column]).sum()
    assert error <= 1e-9, f"error {error} after {iterations} iterations"
    entropy = np.sum(plan * (exponent - np.log(a[live])[:, None] - np.log(b[column])))
    primal = np.sum(plan * cost[np.ix_(live, column)]) + epsilon * entropy
    assert abs(primal - value) <= 1e-9 * abs(value) + 2e-9 * max(np.ptp(f[live]), np.ptp(g[column]))
    return {"ott": value, "f": f, "g": g, "error": error, "iterations": iterations}


def exact(cost, a, b):
    """POT's optimal cost, with its plan checked."""
    import ot

    plan, log = ot.emd(a, b, cost, numItermax=10_000_000, log=True)
    assert log["warning"] is None, log["warning"]
    np.testing.assert_allclose(plan.sum(1), a, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(plan.sum(0), b, rtol=1e-12, atol=1e-16)
    value = ot.emd2(a, b, cost, numItermax=10_000_000)
    np.testing.assert_allclose(np.sum(plan * cost), value, rtol=1e-12)
    # Potentials, made feasible, are worth as much (within the simplex' own 1e-12 of each cost): no
    # plan is cheaper.
    least = (cost - log["u"][:, None])[a > 0].min(0)
    np.testing.assert_allclose(a @ log["u"] + b @ least, value, rtol=1e-10)
    return value


def main():
    """Solve every case and write the file."""
    jax.config.update("jax_enable_x64", True)
    import ot
    import ott

    arrays = {}
    for name, epsilons in PROBLEMS.items():
        cost, a, b = build(name)
        arrays[f"{name}/checksum"] = checksum(cost, a, b)
        arrays[f"{name}/emd"] = exact(cost, a, b)
        for epsilon in epsilons:
            start = time.perf_counter()
            case = checked(cost, a, b, epsilon)
            arrays |= {f"{name}/{epsilon:g}/{key}": value for key, value in case.items()}
            print(
                f"{name}, {epsilon:g}: {case['ott']:.12f}, exact {arrays[f'{name}/emd']:.12f}, "
                f"{case['iterations']} iterations, {time.perf_counter() - start:.1f} s",
                flush=True,
            )

    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    versions = {"ott-jax": ott, "POT": ot, "jax": jax, "numpy": np}
    arrays["versions"] = np.array([f"{k}=={v.__version__}" for k, v in versions.items()])
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "transport_peers.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {len(arrays)} arrays, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
