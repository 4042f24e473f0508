"""Random architectures, ours against neural-tangents: a tool, not a test.

    python tests/oracles/fuzz_nt.py --count 60 --seed 1

Run in our environment; it starts the oracle environment's interpreter on the same seed to get the
predecessor's values (``--write FILE`` is that half). Prints the architectures whose normalised
error exceeds 1e-12 away from parallel inputs or 1e-7 at them, and the worst entry of each.
"""

# ruff: noqa: T201

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
sys.path.insert(1, str(here.parent.parent))
from architectures import build, dense, residual, standard  # noqa: E402
from kernel_errors import error, parallel  # noqa: E402


def activation(rng):
    """A random activation with random constants."""
    u = [float(v) for v in rng.uniform(-1.5, 1.5, size=3)]
    positive = float(rng.uniform(0.1, 2.0))
    choices = [("Relu",), ("Abs",), ("Gelu",), ("Erf",), ("Sin",), ("Cos",), ("Rbf", positive)]
    choices += [("LeakyRelu", u[0]), ("ABRelu", u[0], u[1])]
    choices += [(name, *u) for name in ("Erf", "Sin", "Cos")]
    return choices[rng.integers(len(choices))]


def affine(rng, width):
    """A random dense layer."""
    w = float(rng.choice([rng.uniform(0.5, 2.0), rng.uniform(0.01, 4.0), 2**0.5]))
    b = [None, 0.0, float(rng.uniform(0.01, 1.0))][rng.integers(3)]
    make = standard if rng.uniform() < 0.2 else dense
    return make(width, w, b)


def chain(rng, depth, width, nesting):
    """Dense, activation, Dense, ...; ends on a dense layer of `width`."""
    layers = [affine(rng, int(rng.integers(1, 40)))]
    for step in range(depth):
        layers.append(activation(rng))
        last = step == depth - 1
        layers.append(affine(rng, width if last else int(rng.integers(1, 40))))
        if nesting and rng.uniform() < 0.35:
            here_width = layers[-1][1]
            branch = chain(rng, int(rng.integers(1, 3)), here_width, nesting - 1)[1:]
            layers.append(residual(activation(rng), *branch))
    return ("serial", *layers)


def architecture(rng):
    """A random network; depth up to 10, two levels of branches."""
    net = chain(rng, int(rng.integers(1, 11 if rng.uniform() < 0.3 else 5)), 1, 2)
    if rng.uniform() < 0.2:
        net = (*net, activation(rng))
    return net


def points(rng):
    """Points with copies, near-copies and rescalings, and a second set that shares some."""
    d = int(rng.integers(1, 20))
    x = rng.normal(size=(10, d)) * rng.uniform(0.3, 3.0)
    x[5], x[6], x[7] = x[0], x[1] + 1e-3 * rng.normal(size=d), x[2] + 1e-6 * rng.normal(size=d)
    x[8], x[9] = 2.5 * x[3], -x[4]
    return x, np.concatenate([x[3:8], rng.normal(size=(3, d))])


def cases(count, seed):
    """(index, architecture, x1, x2) from one seeded generator an index."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        spec = architecture(rng)
        yield index, spec, *points(rng)


def write_reference(count, seed, target):
    """The half that runs in the oracle environment."""
    import warnings

    import jax

    jax.config.update("jax_enable_x64", True)
    from neural_tangents import stax

    warnings.simplefilter("ignore")
    arrays = {}
    for index, spec, x1, x2 in cases(count, seed):
        kernel_fn = build(spec, stax)[2]
        for name, value in (("sym", kernel_fn(x1, None, ("nngp", "ntk"))),
                            ("pair", kernel_fn(x1, x2, ("nngp", "ntk"))),
                            ("own2", kernel_fn(x2, None, ("nngp", "ntk")))):  # fmt: skip
            for which, k in zip(("nngp", "ntk"), value, strict=True):
                arrays[f"{index}/{name}/{which}"] = np.asarray(k)
    np.savez(target, **arrays)


def compare(count, seed, reference):
    """The half that runs in ours."""
    import jax

    from theorylab import kernels as tk

    bad = 0
    with jax.enable_x64(True):
        for index, spec, x1, x2 in cases(count, seed):
            net = build(spec, tk)
            lines = []
            for name, kernel in (("sym", net.kernel(x1)), ("pair", net.kernel(x1, x2))):
                y = x1 if name == "sym" else x2
                for which in ("nngp", "ntk"):
                    theirs = reference[f"{index}/{name}/{which}"]
                    d1 = np.diag(reference[f"{index}/sym/{which}"])
                    d2 = d1 if name == "sym" else np.diag(reference[f"{index}/own2/{which}"])
                    e = error(getattr(kernel, which), theirs, d1[:, None], d2[None])
                    e = np.where(np.isnan(e), np.inf, e)
                    near = parallel(x1, y)
                    excess = e / np.where(near, 1e-7, 1e-12)
                    i, j = np.unravel_index(excess.argmax(), e.shape)
                    if excess[i, j] > 1:
                        where = "parallel" if near[i, j] else "away"
                        lines.append(f"   {name} {which}: {e[i, j]:.1e} at {i, j} ({where})")
            if lines:
                bad += 1
                print(f"{index}: d = {x1.shape[1]}, {spec}", *lines, sep="\n", flush=True)
    print(f"{bad} of {count} architectures exceed the tolerances")


def main():
    """Parse the command line and run one half or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    if options.write:
        write_reference(options.count, options.seed, options.write)
        return
    python = here.parent.parent / ".oracles-venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit("the oracle environment is missing: `make oracles` makes it")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "reference.npz"
        arguments = ["--count", str(options.count), "--seed", str(options.seed)]
        subprocess.run([python, __file__, *arguments, "--write", target], check=True)
        with np.load(target, allow_pickle=False) as reference:
            compare(options.count, options.seed, reference)


if __name__ == "__main__":
    main()
