"""Writes mp_dense.npz: kernels of plain networks by the textbook recursion in 50-digit arithmetic.

Independent of every library: each activation's dual is the formula of its paper, evaluated with
mpmath, so nothing is lost to cancellation however close two points lie. Runs in the environment of
make.sh, or in any other that has mpmath and NumPy. For each network NAME, ``NAME/nngp`` and
``NAME/ntk`` hold the upper triangle with the diagonal for the points ``set`` of architectures.py
(values rounded to float64).

Duals k' = E f(u) f(v) and k_dot = E f'(u) f'(v), for (u, v) normal with variances q1, q2 and
covariance k: ABRelu Cho & Saul 2009 (n = 0, 1), by linearity in |x| and x; Erf Williams 1997;
Gelu Tsuchida, Pearce, van der Heide, Roosta & Gallagher 2021; Sin: characteristic function of the
normal law.
"""

# ruff: noqa: T201

import sys
from pathlib import Path

import mpmath as mp
import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import ARCHITECTURES, ROOT2, digest, inputs, mlp  # noqa: E402

SOURCES = (here / "generate_mpmath_dense.py", here / "architectures.py")
DIGITS = 50

FAMILIES = {
    "relu": (("Relu",), ROOT2, None),
    "relu_bias": (("Relu",), 1.6, 0.3),
    "leaky": (("LeakyRelu", 0.1), 1.4, 0.05),
    "abs_bias": (("Abs",), 1.0, 0.1),
    "erf_chaotic": (("Erf",), 1.5, 0.2),
    "erf_ordered": (("Erf",), 0.8, 0.2),
    "gelu": (("Gelu",), 1.3, 0.1),
    "sin_chaotic": (("Sin",), 1.5, 0.2),
    "sin_ordered": (("Sin",), 0.9, None),
}
NETWORKS = {
    f"{name}_{depth}": mlp(activation, depth, w, b)
    for name, (activation, w, b) in FAMILIES.items()
    for depth in (1, 3, 10)
}
# These two recur in nt_dense.npz's list: one architecture, two independent references.
NETWORKS |= {name: ARCHITECTURES[name] for name in ("erf_2_general", "sin_3_phase")}


def abrelu(a, b, k, q1, q2):
    """Slopes a (below 0) and b: f(x) = (b - a) |x| / 2 + (a + b) x / 2."""
    scale = mp.sqrt(q1 * q2)
    if scale == 0:
        return mp.mpf(0), ((b - a) / 2) ** 2 + ((a + b) / 2) ** 2
    cosine = min(max(k / scale, mp.mpf(-1)), mp.mpf(1))
    theta = mp.acos(cosine)
    # E |u||v| and E sign(u) sign(v)
    moduli = 2 / mp.pi * scale * (mp.sin(theta) + (mp.pi / 2 - theta) * cosine)
    signs = 1 - 2 * theta / mp.pi
    return (
        ((b - a) / 2) ** 2 * moduli + ((a + b) / 2) ** 2 * k,
        ((b - a) / 2) ** 2 * signs + ((a + b) / 2) ** 2,
    )


def erf(a, b, c, k, q1, q2):
    """a erf(b x) + c."""
    k, q1, q2 = b * b * k, b * b * q1, b * b * q2
    value = 2 / mp.pi * mp.asin(2 * k / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))
    slope = 4 / mp.pi / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k)
    return a * a * value + c * c, a * a * b * b * slope


def gelu(k, q1, q2):
    """x Phi(x), Phi the normal distribution function."""
    p, r, det = 1 + q1, 1 + q2, (1 + q1) * (1 + q2) - k * k
    angle = mp.asin(k / mp.sqrt(p * r))
    value = k / 4 + k * angle / (2 * mp.pi)
    value += (q1 * q2 - k * k + k * k * (1 / p + 1 / r)) / (2 * mp.pi * mp.sqrt(det))
    slope = mp.mpf(1) / 4 + angle / (2 * mp.pi)
    slope += k * (1 / p + 1 / r + 1 / det) / (2 * mp.pi * mp.sqrt(det))
    return value, slope


def sin(a, b, c, k, q1, q2):
    """a sin(b x + c)."""
    minus = mp.exp(-b * b * (q1 + q2 - 2 * k) / 2)
    plus = mp.exp(-b * b * (q1 + q2 + 2 * k) / 2) * mp.cos(2 * c)
    return a * a * (minus - plus) / 2, a * a * b * b * (minus + plus) / 2


def dual(name, *constants):
    """(k, q1, q2) -> (k', k_dot) of an activation given as data."""
    wave = (1, 1, 0)
    fixed = {"Relu": (0, 1), "Abs": (-1, 1), "Erf": wave, "Sin": wave, "Cos": wave, "Gelu": ()}
    function = {"Erf": erf, "Gelu": gelu, "Sin": sin, "Cos": sin, "Rbf": sin}.get(name, abrelu)
    constants = [mp.mpf(v) for v in constants or fixed[name]]
    if name == "LeakyRelu":
        constants = [constants[0], mp.mpf(1)]
    elif name == "Cos":
        constants[2] += mp.pi / 2
    elif name == "Rbf":
        constants = [mp.sqrt(2), mp.sqrt(2 * constants[0]), mp.pi / 4]
    return lambda k, q1, q2: function(*constants, k, q1, q2)


def kernels(spec, x):
    """NNGP and NTK of a plain network in the NTK parameterization, upper triangles."""
    n, d = x.shape
    exact = [[mp.mpf(float(v)) for v in row] for row in x]
    pairs = list(zip(*np.triu_indices(n), strict=True))
    k = {(i, j): mp.fdot(exact[i], exact[j]) / d for i, j in pairs}
    t = dict.fromkeys(k, mp.mpf(0))
    for layer in spec[1:]:
        if layer[0] == "Dense":
            w2, b2 = mp.mpf(layer[2]["W_std"]) ** 2, mp.mpf(layer[2]["b_std"] or 0) ** 2
            k = {p: w2 * v + b2 for p, v in k.items()}
            t = {p: w2 * v + k[p] for p, v in t.items()}
        else:
            f = dual(*layer)
            q = [k[i, i] for i in range(n)]
            both = {(i, j): f(v, q[i], q[j]) for (i, j), v in k.items()}
            k = {p: v[0] for p, v in both.items()}
            t = {p: v * both[p][1] for p, v in t.items()}
    return [np.array([float(values[p]) for p in pairs]) for values in (k, t)]


def main():
    """Compute every kernel and write the file."""
    mp.mp.dps = DIGITS
    x = inputs()["set"]
    arrays = {"inputs/set": x}
    for name, spec in NETWORKS.items():
        arrays[f"{name}/nngp"], arrays[f"{name}/ntk"] = kernels(spec, x)
    arrays["versions"] = np.array([f"mpmath=={mp.__version__}", f"numpy=={np.__version__}"])
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "mp_dense.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {len(NETWORKS)} networks, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
