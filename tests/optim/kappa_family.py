"""Every kappa, one line each: all tests of the family run over this list."""

import numpy as np

from theorylab.optim import kappas

KAPPAS = {
    "l1": kappas.l1(),
    "l2": kappas.l2(),
    "group(0)": kappas.group(0),
    "lp(1.5)": kappas.lp(1.5),
    "lp(4)": kappas.lp(4),
    "power(1.5)": kappas.power(1.5),
    "power(2)": kappas.power(2),
    "soft(0.3)": kappas.soft(0.3),
    "top_k(3)": kappas.top_k(3),
    "huber(0.5)": kappas.huber(0.5),
    "relativistic(0.5)": kappas.relativistic(0.5),
    "logcosh(2)": kappas.logcosh(2),
    "logsumexp": kappas.logsumexp(),
    "linf": kappas.linf(),
    "nuclear": kappas.nuclear(),
    "nuclear, iterated": kappas.nuclear(method="newton_schulz"),
    "spectral": kappas.spectral(),
    "rows": kappas.rows(),
}

SHAPE = (4, 3)

# The conjugate is finite everywhere: nothing is constrained.
FULL_DOMAIN = ("power(1.5)", "power(2)")
# The domain is a simplex, which does not hold 0: its distance is not that of the gauge.
SIMPLEX = ("logsumexp",)


def inner_point(name, x):
    """A point of the domain of the conjugate, not on its boundary, made from any array."""
    kappa = KAPPAS[name]
    if name in SIMPLEX:
        weights = np.exp(x - x.max())
        return weights / weights.sum()
    if kappa.gauge is None:
        return x
    return 0.9 * x / float(kappa.gauge(x))
