r"""Eleven noisy points on a sinusoid, and the losses that were published for them.

The points are those of Mobahi, Farajtabar and Bartlett (2020), used again by Borup and Andersen
(2021), with the kernel :math:`e^{-80 (x - x')^2}` and the ridge 0.2. A loss is the mean over
:math:`x = 0, 0.01, \dots, 1` of the squared distance to :math:`\sin 2 \pi x`, the curve without
noise.

The table stands in the README of the authors' public code (Kennethborup/self_distillation), for
weights 0 and 0.35 of the true targets, with five decimals: generations 1 to 6 and the limit. An
older version heads the second column 0.25, but at 0.25 the losses come out up to 3e-3 away from it.
"""

import numpy as np

from theorylab import predict

X = np.arange(11) / 10
# Their noise is part of the data: printed with all digits in both papers' code.
Y = np.array(
    [0.38476636465198066, 1.2333967683416893, 1.33232242218057, 0.69201594888895180,
     -0.29756145531871736, -0.24189291901377769, -0.7964485769175675, -0.9616480167034174,
     -0.49672509509916934, -0.3469066003991437, 0.5589512650600734]
)  # fmt: skip
GRID = np.arange(101) / 100
GAMMA, RIDGE = 80.0, 0.2
ALPHAS = (0.0, 0.35)
# Rows as ALPHAS; generations 1 to 6, then the limit.
PUBLISHED = np.array(
    [[0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251, 0.49505],
     [0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948, 0.14959]]
)  # fmt: skip
STEPS = PUBLISHED.shape[1] - 1


def kernel(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """Return the kernel of points on a line, (n1, n2).

    Examples
    --------
    >>> float(kernel(np.zeros(1), np.ones(1))[0, 0]) < 1e-34
    True
    """
    return np.exp(-GAMMA * (x1[:, None] - x2[None]) ** 2)


def truth() -> np.ndarray:
    """Return the curve without noise on `GRID`."""
    return np.sin(2 * np.pi * GRID)


def curves(alpha: float) -> np.ndarray:
    """Return all generations of `STEPS` and the limit on `GRID`, (STEPS + 1, 101).

    Raises
    ------
    ArithmeticError
        The distillation reports trouble.

    Examples
    --------
    >>> losses = ((curves(0.0) - truth()) ** 2).mean(axis=1)
    >>> round(float(losses[0]), 2), round(float(losses[-1]), 3)  # ridge regression; zero
    (0.16, 0.495)
    """
    found = predict.self_distillation(
        kernel(X, X), Y, ridge=RIDGE, alpha=alpha, steps=STEPS, k_test_train=kernel(GRID, X)
    )
    if found.status != predict.Status.SUCCESS:
        name = predict.Status(int(found.status)).name
        raise ArithmeticError(f"self-distillation reports {name}")
    assert found.test_fits is not None and found.test_limit is not None
    return np.concatenate([found.test_fits, found.test_limit[None]])
