r"""What must hold exactly between predictions, in float64 and against plain NumPy.

With the regression :math:`R_\lambda(K) = K_* (K + \lambda)^{-1} y`, solved by LU in NumPy,

1. gradient flow of infinite time with ridge :math:`\lambda` is :math:`R_\lambda(\Theta)`;
2. so is the posterior mean with the kernel :math:`\Theta` and noise :math:`\lambda`;
3. the NNGP's posterior mean is :math:`R_\lambda(K)`;
4. the residual of an image left out is that of the regression on all the others;
5. a finite network with features h of its last hidden layer, whose readout :math:`f = W_{std} W h /
   \sqrt n + b_{std} b` alone is trained on :math:`|f - y|^2 + \lambda (|W|^2 + |b|^2)`, predicts
   :math:`R_\lambda(W_{std}^2 H + b_{std}^2)` with its ``empirical.nngp`` H: ridge regression on
   features and its dual.
"""

import jax
import numpy as np

import theorylab.kernels as tk
from experiments._networks import keys, one_hot
from experiments._nngp_ntk_nn_networks import B_STD, limit, network
from theorylab import empirical, predict

FEW, TESTED = 30, 20  # images; any will do
WIDTH = 50  # more features than images or fewer: the dual holds for both
RIDGE = 0.01  # over the mean diagonal
IDENTITIES = 2  # random stream, behind those of ``_nngp_ntk_nn_networks``


def identities(digits, seed):
    """Return {name: largest difference, relative to the largest prediction}."""
    with jax.enable_x64(True):
        x, x_test = (part.astype(np.float64) for part in (digits.x_train, digits.x_test))
        x, x_test = x[:FEW], x_test[:TESTED]
        y = one_hot(digits.y_train[: len(x)]).astype(np.float64)
        kernel = limit(x, x_test)
        nngp, ntk = ((kernel[name], kernel[f"{name}_test"]) for name in ("nngp", "ntk"))
        ridge = float(RIDGE * np.diag(ntk[0]).mean())
        wanted = _regression(*ntk, y, ridge)
        flow = predict.gradient_flow(ntk[0], y, ridge=ridge)(np.inf, ntk[1])
        cholesky = predict.posterior(ntk[0], ntk[1], None, y, noise=ridge)
        posterior = predict.posterior(nngp[0], nngp[1], None, y, noise=ridge)
        residuals = predict.leave_one_out(ntk[0], y, ridge=ridge)
        return {
            "identity_flow": _apart(flow.mean, wanted),
            "identity_cholesky": _apart(cholesky.mean, flow.mean),
            "identity_posterior": _apart(posterior.mean, _regression(*nngp, y, ridge)),
            "identity_left_out": _apart(residuals, _refitted(ntk[0], y, ridge)),
            "identity_readout": _readout(x, x_test, y, ridge, seed),
        }


def _readout(x, x_test, y, ridge, seed):
    """Return the fifth difference."""
    net = network(WIDTH, 1)
    features = tk.serial(*net.layers[:-1])
    params = features.init(keys(seed, IDENTITIES, 0, 0, 1)[0], x.shape)
    readout = net.layers[-1]
    grams = [
        readout.W_std**2 * empirical.nngp(features.apply, params, a, x) + B_STD**2
        for a in (x, x_test)
    ]
    told = predict.posterior(grams[0], grams[1], None, y, noise=ridge)
    bases = [
        np.concatenate([np.asarray(h) / np.sqrt(WIDTH), np.full((len(h), 1), B_STD)], axis=1)
        for h in (features.apply(params, x), features.apply(params, x_test))
    ]
    normal = bases[0].T @ bases[0] + ridge * np.eye(WIDTH + 1)
    return _apart(told.mean, bases[1] @ np.linalg.solve(normal, bases[0].T @ y))


def _regression(gram, cross, y, ridge):
    return cross @ np.linalg.solve(gram + ridge * np.eye(len(gram)), y)


def _refitted(gram, y, ridge):
    """Return target minus prediction for each image, from a regression on all the others."""
    every = np.arange(len(y))
    return np.stack([
        y[i] - _regression(gram[np.ix_(others, others)], gram[i, others], y[others], ridge)
        for i in every for others in [every[every != i]]
    ])  # fmt: skip


def _apart(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()
