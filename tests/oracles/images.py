"""The input sets on which the architectures of architectures_conv.py are frozen.

This module runs under two environments and two generations of JAX; it imports NumPy alone.
"""

import numpy as np
from architectures import inputs
from architectures_conv import CASES, SPATIAL

# Outputs with spatial axes hold many entries: these see three points of their set.
FEW = [0, 4, 2]


def near_copies(rng, base, blank):
    """Points, and after them an exact copy, near copies and a rescaled copy of the first three."""
    step = rng.normal(size=(2, *base.shape[1:]))
    if blank is not None:
        step[1][blank] = 0.0
    moved = []
    for x, direction, distance in zip((base[0], base[2]), step, (1e-3, 1e-5), strict=True):
        moved.append(x + distance * np.linalg.norm(x) / np.linalg.norm(direction) * direction)
    return np.stack([*base[:3], base[0], *moved, 2.5 * base[1], *base[3:]])


def points():
    """Input sets by name, float64, batch first and channels last.

    Rows of ``line`` (7, 7, 2), ``image`` (8, 6, 5, 3) and ``digits`` (8, 6, 5, 1): three points,
    then a copy of row 0, a copy of row 0 at relative distance 1e-3, one of row 2 at 1e-5, row 1
    times 2.5, and more points. In rows 2, 5 and 7 of ``image`` and in all ``digits`` (nonnegative,
    half of their pixels of three levels) the upper left block is blank. ``volume`` (5, 4, 3, 3, 2):
    two points, a rescaled, a near and one more. ``vectors``: rows of architectures.py's set.
    A name with ``_right`` holds the second set of a pair, which shares points with the first three
    rows of the set: one, one near, one rescaled and one new.
    """
    rng = np.random.default_rng(20240517)
    blank = (slice(None, 4), slice(None, 3))
    line = near_copies(rng, rng.normal(size=(3, 7, 2)), None)
    base = rng.normal(size=(4, 6, 5, 3))
    base[2:, *blank] = 0.0
    image = near_copies(rng, base, blank)
    pixels = np.maximum(rng.normal(size=(4, 6, 5, 1)), 0.0)
    pixels[:, 4:] = np.ceil(pixels[:, 4:])
    pixels[:, *blank] = 0.0
    digits = near_copies(rng, pixels, blank)
    boxes = rng.normal(size=(3, 4, 3, 3, 2))
    shift = 1e-3 * rng.normal(size=boxes.shape[1:])
    volume = np.stack([boxes[0], boxes[1], 2.5 * boxes[0], boxes[2], boxes[1] + shift])
    sets = {"line": line, "image": image, "digits": digits, "volume": volume}
    sets["vectors"] = inputs()["set"][[0, 1, 2, 8, 10, 12, 16, 22, 23]]
    for name in ("image", "volume"):
        x = sets[name]
        new = rng.normal(size=(2, *x.shape[1:]))
        sets[f"{name}_right"] = np.stack([x[0], x[1] + 1e-3 * new[0], 2.5 * x[2], new[1]])
    return sets


def arrange(x, layout):
    """The axes of a channels-last array in the order of `layout`."""
    if layout is None:
        return x
    return np.transpose(x, ["NHWC".index(axis) for axis in layout])


def case_points(name):
    """The points of a case in its axis order; few where the output has spatial axes."""
    case = CASES[name]
    x = points()[case.points]
    return arrange(x[FEW] if name in SPATIAL else x, case.layout)


def case_pair(name):
    """Two sets that share points, for the cases named in `PAIRS`."""
    sets, case = points(), CASES[name]
    pair = sets[case.points][:3], sets[f"{case.points}_right"]
    return tuple(arrange(x, case.layout) for x in pair)
