"""Random convolutional architectures, ours against the textbook recursion: a tool, not a test.

    python tests/oracles/fuzz_conv.py --count 60 --seed 1 --digits 40

Networks of one to three spatial dimensions with axes anywhere, all paddings, strides, pooling,
normalization and branches, grown layer by layer along with textbook.py's state, so that every layer
fits what stands before it. Prints the architectures whose normalised error exceeds 1e-12, or 1e-7
in entries that average nearly parallel patches under a kinked activation; with ``--digits`` the
recursion runs in that many digits and the bound is 1e-12 everywhere (ten seconds a network).
"""

# ruff: noqa: T201

import argparse
import math
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
sys.path.insert(1, str(here.parent.parent))
from architectures import build  # noqa: E402
from kernel_errors import own, spatial_error  # noqa: E402
from textbook import DOUBLE, exact, finish, propagate, start  # noqa: E402

ACTIVATIONS = (
    *(("Relu",), ("Abs",), ("LeakyRelu", 0.2), ("ABRelu", -0.4, 1.2), ("Gelu",), ("Erf",)),
    *(("Sin",), ("Cos",), ("Rbf", 0.6), ("Erf", 1.2, 0.7, 0.3), ("Sin", 1.1, 0.8, 0.5)),
)
PADDINGS = ("VALID", "SAME", "CIRCULAR")


def axes_of(state):
    """The axis options of layers that take them."""
    return {"batch_axis": state.batch_axis, "channel_axis": state.channel_axis}


def letters_of(state, spatial):
    """A layout string of the state's tensor with these letters on its spatial axes."""
    letters = list(spatial)
    return "".join(
        "N" if axis == state.batch_axis else "C" if axis == state.channel_axis else letters.pop(0)
        for axis in range(len(spatial) + 2)
    )


def constants(rng):
    """Hyperparameters of an affine layer."""
    b = [None, 0.0, float(rng.uniform(0.05, 0.6))][rng.integers(3)]
    options = {"W_std": float(rng.uniform(0.7, 1.7)), "b_std": b}
    if rng.uniform() < 0.2:
        s = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
        options |= {"parameterization": "standard", "s": s}
    return options


def window(rng, state, largest):
    """A window, strides and a padding that leave at least one position."""
    while True:
        shape = tuple(int(v) for v in rng.integers(1, largest + 1, size=len(state.spatial)))
        strides = tuple(int(v) for v in rng.choice([1, 1, 2, 3], size=len(shape)))
        padding = str(rng.choice(PADDINGS))
        if all(w <= size for w, size in zip(shape, state.spatial, strict=True)):
            return shape, None if rng.uniform() < 0.3 else strides, padding


def conv(rng, state, keep=False):
    """A random convolution; with `keep` its output has the shape and the layout of its input."""
    shape, strides, padding = window(rng, state, 3)
    spatial = list("HWD"[: len(shape)])
    left = letters_of(state, spatial)
    kernel, right = left.replace("N", "I").replace("C", "O"), left
    if rng.uniform() < 0.3:
        kernel = "".join(rng.permutation(list(kernel)))
    if not keep and rng.uniform() < 0.2:
        right = "".join(rng.permutation(list(left)))
    order = [spatial.index(c) for c in kernel if c not in "IO"]
    if keep:
        strides, padding = None, str(rng.choice(["SAME", "CIRCULAR"]))
    options = {**constants(rng), "padding": padding, "dimension_numbers": (left, kernel, right)}
    options["strides"] = strides and tuple(strides[o] for o in order)
    channels = state.channels if keep else int(rng.integers(2, 8))
    if keep:
        options["s"] = (options.get("s", (1, 1))[0], 1)
    return ("Conv", channels, tuple(shape[o] for o in order), options)


def pool(rng, state):
    """A random pooling layer."""
    shape, strides, padding = window(rng, state, 3)
    options = {"strides": strides, "padding": padding, **axes_of(state)}
    if rng.uniform() < 0.5:
        return ("SumPool", shape, options)
    return ("AvgPool", shape, {**options, "normalize_edges": bool(rng.uniform() < 0.5)})


def norm(rng, state):
    """LayerNorm over the channels and perhaps some spatial axes."""
    some = [a for a in state.spatial_axes() if rng.uniform() < 0.4]
    return ("LayerNorm", (state.channel_axis, *some), {"eps": 1e-6, **axes_of(state)})


def activation(rng):
    """A random activation."""
    return ACTIVATIONS[rng.integers(len(ACTIVATIONS))]


def branch(rng, state):
    """Branches of a Gaussian signal, joined; and whether the result is Gaussian."""
    kind = rng.integers(4)
    first, second = conv(rng, state, keep=True), conv(rng, state, keep=True)
    if kind == 0:
        nets, join, gaussian = (("Identity",), ("serial", activation(rng), first)), "FanInSum", True
    elif kind == 1:
        nets = (("serial", activation(rng), first), ("serial", second, activation(rng)))
        join, gaussian = "FanInProd", False
    elif kind == 2:
        wider = (second[0], int(rng.integers(2, 8)), *second[2:])
        nets = (("serial", first, activation(rng)), wider)
        return (*fan(nets), ("FanInConcat", state.channel_axis)), False
    else:
        axis = int(rng.choice(state.spatial_axes()))
        nets = (first, ("serial", activation(rng), second))
        return (*fan(nets), ("FanInConcat", axis)), True
    return (*fan(nets), (join,)), gaussian


def fan(nets):
    """FanOut and the branches."""
    return ("serial", ("FanOut", len(nets)), ("parallel", *nets))


def network(rng, state, m):
    """A random network on the points of a state, and the state after it."""
    layers = []

    def add(layer):
        nonlocal state
        layers.append(layer)
        state = propagate(m, layer, state)

    if rng.uniform() < 0.15:
        add(pool(rng, state))
    for _ in range(int(rng.integers(1, 4))):
        options = constants(rng)
        width = int(rng.integers(2, 8))
        add(("Dense", width, options | axes_of(state)) if rng.uniform() < 0.2 else conv(rng, state))
        if rng.uniform() < 0.25:
            add(norm(rng, state))
        gaussian = True
        if rng.uniform() < 0.3 and math.prod(state.spatial) <= 24:
            layer, gaussian = branch(rng, state)
            add(layer)
        if rng.uniform() < 0.15:
            add(pool(rng, state))
        if gaussian and rng.uniform() < 0.9:
            add(activation(rng))
        if rng.uniform() < 0.25:
            add(pool(rng, state))
    end = rng.integers(4)
    if end == 0:
        side = int(rng.integers(2))
        add(("Flatten", {"batch_axis": state.batch_axis, "batch_axis_out": side}))
    elif end < 3:
        add((("GlobalAvgPool", "GlobalSumPool")[end - 1], axes_of(state)))
    add(("Dense", 1, constants(rng) | axes_of(state)))
    return ("serial", *layers), state


def case(rng, m):
    """A network, its points, and the textbook's kernels and near entries."""
    dimensions = int(rng.integers(1, 4))
    spatial = tuple(int(v) for v in rng.integers(*((5, 9), (3, 6), (2, 4))[dimensions - 1],
                                                 size=dimensions))  # fmt: skip
    x = rng.normal(size=(5, *spatial, int(rng.integers(1, 4)))) * rng.uniform(0.3, 2.0)
    x[1:3, : spatial[0] // 2 + 1] = 0.0
    x[3] = x[1] + 1e-4 * x[3] * (x[1] != 0)
    x[4] = 2.5 * x[0]
    layout = "".join(rng.permutation(list("NHWDC"[: dimensions + 1] + "C")))
    canonical = "NHWDC"[: dimensions + 1] + "C"
    if rng.uniform() < 0.5:
        layout = canonical
    x = np.transpose(x, [canonical.index(c) for c in layout])
    spec, end = network(rng, start(x, layout, m), m)
    return spec, x, *finish(end)


def main():
    """Grow networks and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one index")
    parser.add_argument("--digits", type=int, help="digits of the recursion; float64 without")
    options = parser.parse_args()
    import jax

    from theorylab import kernels as tk

    m = exact(options.digits) if options.digits else DOUBLE
    near_bound = 1e-12 if options.digits else 1e-7
    bad = 0
    for index in range(options.count) if options.only is None else [options.only]:
        spec, x, *expected, near = case(np.random.default_rng([options.seed, index]), m)
        lines = []
        try:
            with jax.enable_x64(True):
                kernel = build(spec, tk).kernel(x)
        except Exception as problem:  # noqa: BLE001
            lines.append(f"   {type(problem).__name__}: {problem}")
        else:
            for which, value in zip(("nngp", "ntk"), expected, strict=True):
                ours, value = np.asarray(getattr(kernel, which)), value.astype(float)
                if ours.shape != value.shape:
                    lines.append(f"   {which}: shape {ours.shape}, expected {value.shape}")
                    continue
                e = spatial_error(ours, value, own(value), own(value))
                excess = np.where(np.isnan(e), np.inf, e / np.where(near, near_bound, 1e-12))
                worst = np.unravel_index(excess.argmax(), e.shape)
                if excess[worst] > 1:
                    lines.append(f"   {which}: {e[worst]:.1e} at {worst}, near: {near[worst]}")
        if lines:
            bad += 1
            print(f"{index}: x {x.shape}, {spec}", *lines, sep="\n", flush=True)
    print(f"{bad} of {options.count} architectures exceed the tolerances")


if __name__ == "__main__":
    main()
