"""The problems of transport_peers.npz, made from families.py by name, and their checksums.

Cost matrices are not stored: generator and test make them again, and what is stored tells whether
they are still the same.
"""

import numpy as np

from tests.transport import families

# Name: the epsilons, in units of the largest cost (1 or nearly). Small random assignments stop at
# 5e-3: at 1e-3 two million of Sinkhorn's iterations left an error of 1e-8 at n = 100; so did a
# hundred thousand an error of 1e-7 for mixtures at 5e-4, n = 200.
PROBLEMS = {
    "assignment 100": (1e-2, 5e-3),
    "assignment 200": (1e-2, 5e-3),
    "mixtures 100": (1e-2, 1e-3, 5e-4),
    "mixtures 200": (1e-2, 1e-3),
    "digits 2": (1e-2, 1e-3, 5e-4),
    "digits 1": (1e-2, 1e-3, 5e-4),
    "wide 60 x 90": (1e-2, 1e-3, 5e-4),
    "tall 90 x 60": (1e-2, 1e-3, 5e-4),
}
CASES = [(name, epsilon) for name, epsilons in PROBLEMS.items() for epsilon in epsilons]


def build(name):
    """Cost, masses, by name; the rectangles have masses that differ by up to a factor of five.

    "wide": random costs. "tall": squared distances, and every tenth point of either side has no
    mass.
    """
    if name == "wide 60 x 90":
        return families.small(60, 90, seed=3)[:3]
    if name == "tall 90 x 60":
        x, y = families.clouds(90, 5)
        cost = ((x[:, None] - y[None, :60]) ** 2).sum(-1)
        _, a, b, _ = families.small(90, 60, seed=4)
        a[::10], b[::10] = 0, 0
        return cost / cost.max(), a / a.sum(), b / b.sum()
    return families.problem(name)


def checksum(cost, a, b):
    """Sums that see every entry and its place, (6,)."""

    def sums(x):
        flat = np.ravel(x)
        return flat.sum(), flat @ np.cos(np.arange(flat.size))

    return np.array([*sums(cost), *sums(a), *sums(b)])
