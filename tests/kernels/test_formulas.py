"""The formulas on the activations' pages, typed in as they stand there, against the kernels."""

import numpy as np
import pytest
from numpy import arccos, arcsin, cos, exp, pi, sin, sqrt

import theorylab.kernels as tk

X = np.random.default_rng(0).normal(size=(4, 3))
K = X @ X.T / 3
Q, Q2 = np.diag(K)[:, None], np.diag(K)[None]
THETA = arccos(np.clip(K / sqrt(Q * Q2), -1, 1))
ALPHA, GAMMA = 0.3, 0.6
A, B, C = 1.3, 0.7, 0.4


def two_slopes(a, b):
    kink = (a - b) ** 2 / (2 * pi) * (sin(THETA) - THETA * cos(THETA))
    nngp = sqrt(Q * Q2) * (kink + (a**2 + b**2) / 2 * cos(THETA))
    return nngp, (a - b) ** 2 / 2 * (1 - THETA / pi) + a * b


def relu():
    nngp = sqrt(Q * Q2) / (2 * pi) * (sin(THETA) + (pi - THETA) * cos(THETA))
    return nngp, (pi - THETA) / (2 * pi)


def absolute():
    nngp = 2 * sqrt(Q * Q2) / pi * (sin(THETA) + (pi / 2 - THETA) * cos(THETA))
    return nngp, 1 - 2 * THETA / pi


def erf():
    rows = (1 + 2 * B**2 * Q) * (1 + 2 * B**2 * Q2)
    nngp = 2 * A**2 / pi * arcsin(2 * B**2 * K / sqrt(rows)) + C**2
    return nngp, 4 * A**2 * B**2 / (pi * sqrt(rows - 4 * B**4 * K**2))


def gelu():
    v = Q * Q2 - K**2
    d = 1 + Q + Q2 + v
    angle = arcsin(K / sqrt((1 + Q) * (1 + Q2)))
    both = 1 / (1 + Q) + 1 / (1 + Q2)
    linear = 1 / 4 + angle / (2 * pi)
    nngp = K * linear + (v + K**2 * both) / (2 * pi * sqrt(d))
    return nngp, linear + K / (2 * pi * sqrt(d)) * (both + 1 / d)


def waves(sign):
    near, far = (exp(-(B**2) * (Q + Q2 + s * 2 * K) / 2) for s in (-1, 1))
    nngp = A**2 / 2 * (near + sign * cos(2 * C) * far)
    return nngp, A**2 * B**2 / 2 * (near - sign * cos(2 * C) * far)


def gaussian():
    nngp = exp(-GAMMA * (Q + Q2 - 2 * K))
    return nngp, 2 * GAMMA * nngp


FORMULAS = {
    tk.Relu(): relu(),
    tk.Abs(): absolute(),
    tk.LeakyRelu(ALPHA): two_slopes(ALPHA, 1),
    tk.ABRelu(A, B): two_slopes(A, B),
    tk.Erf(A, B, C): erf(),
    tk.Gelu(): gelu(),
    tk.Sin(A, B, C): waves(-1),
    tk.Cos(A, B, C): waves(1),
    tk.Rbf(GAMMA): gaussian(),
}


@pytest.mark.parametrize("activation", FORMULAS, ids=lambda a: type(a).__name__)
def test_the_formula_on_the_page_is_the_kernel(activation, x64):
    nngp, k_dot = FORMULAS[activation]
    kernel = tk.serial(tk.Dense(5), activation).kernel(X)
    np.testing.assert_allclose(kernel.nngp, nngp, atol=1e-14)
    np.testing.assert_allclose(kernel.ntk, k_dot * K, atol=1e-14)  # K is the NTK below
