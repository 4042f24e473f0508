"""Kernels of a described architecture by the textbook recursion, in any kind of number.

Slow, plain and independent of both libraries: the whole covariance E z[i, p] z[j, p'] over samples
and positions is one array (n, P, n, P), every layer is a map of it, and a window is a list of
source positions. With `EXACT` the entries are 50-digit numbers and nothing is lost to cancellation
however close two patches lie; with `DOUBLE` they are float64.

Besides the kernels it carries, entry by entry, whether a kinked activation met a nearly parallel
pair on the way: there a recursion without gaps loses half its digits in the NTK.

Duals: the sources named in generate_mpmath_dense.py. Convolution and pooling: Novak et al. 2019,
arXiv:1810.05148, section 2. Standard parameterization: Sohl-Dickstein et al. 2020,
arXiv:2001.07301.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

# Angles below this one make a pair of patches near.
ANGLE = 1e-3


class Numbers(NamedTuple):
    """A kind of real number: constructor and elementary functions, elementwise on arrays."""

    real: object
    sqrt: object
    acos: object
    asin: object
    sin: object
    cos: object
    exp: object
    pi: object


DOUBLE = Numbers(
    np.float64, np.sqrt, np.arccos, np.arcsin, np.sin, np.cos, np.exp, np.float64(math.pi)
)


def exact(digits=50):
    """Numbers of so many decimal digits."""
    import mpmath as mp

    mp.mp.dps = digits
    functions = [
        np.frompyfunc(f, 1, 1) for f in (mp.sqrt, mp.acos, mp.asin, mp.sin, mp.cos, mp.exp)
    ]
    return Numbers(mp.mpf, *functions, +mp.pi)


# Duals: (k', k_dot) from covariances k and variances q1, q2 --------------------------------------


def abrelu(m, a, b, k, q1, q2):
    """Slopes a (below 0) and b: f(x) = (b - a) |x| / 2 + (a + b) x / 2."""
    scale = m.sqrt(q1 * q2)
    cosine = np.clip(k / np.where(scale > 0, scale, m.real(1)), m.real(-1), m.real(1))
    theta = m.acos(cosine)
    moduli = 2 / m.pi * scale * (m.sin(theta) + (m.pi / 2 - theta) * cosine)
    odd, even = ((b - a) / 2) ** 2, ((a + b) / 2) ** 2
    return odd * moduli + even * k, odd * (1 - 2 * theta / m.pi) + even


def erf(m, a, b, c, k, q1, q2):
    """a erf(b x) + c."""
    k, q1, q2 = b * b * k, b * b * q1, b * b * q2
    value = 2 / m.pi * m.asin(2 * k / m.sqrt((1 + 2 * q1) * (1 + 2 * q2)))
    slope = 4 / m.pi / m.sqrt((1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k)
    return a * a * value + c * c, a * a * b * b * slope


def gelu(m, k, q1, q2):
    """x Phi(x), Phi the normal distribution function."""
    p, r, det = 1 + q1, 1 + q2, (1 + q1) * (1 + q2) - k * k
    angle, root = m.asin(k / m.sqrt(p * r)), 2 * m.pi * m.sqrt(det)
    value = k / 4 + k * angle / (2 * m.pi) + (q1 * q2 - k * k + k * k * (1 / p + 1 / r)) / root
    return value, m.real(0.25) + angle / (2 * m.pi) + k * (1 / p + 1 / r + 1 / det) / root


def sin(m, a, b, c, k, q1, q2):
    """a sin(b x + c)."""
    minus = m.exp(-b * b * (q1 + q2 - 2 * k) / 2)
    plus = m.exp(-b * b * (q1 + q2 + 2 * k) / 2) * m.cos(2 * c)
    return a * a * (minus - plus) / 2, a * a * b * b * (minus + plus) / 2


def dual(m, name, *constants):
    """(k, q1, q2) -> (k', k_dot) of an activation given as data, and whether it has a kink."""
    fixed = {"Relu": (0, 1), "Abs": (-1, 1), "Gelu": (), "LeakyRelu": (*constants, 1)}
    plain = fixed.get(name) or constants or ((1, 1, 0) if name in {"Erf", "Sin", "Cos"} else ())
    constants = [m.real(v) for v in plain]
    if name == "Cos":
        constants[2] += m.pi / 2
    elif name == "Rbf":
        constants = [m.sqrt(m.real(2)), m.sqrt(2 * constants[0]), m.pi / 4]
    function = {"Erf": erf, "Gelu": gelu, "Sin": sin, "Cos": sin, "Rbf": sin}.get(name, abrelu)
    kinked = function is abrelu and constants[0] != constants[1]
    return lambda k, q1, q2: function(m, *constants, k, q1, q2), kinked


# Positions ---------------------------------------------------------------------------------------


def sources(size, window, stride, padding):
    """(outputs, window) positions that each output position sees along one axis; -1 outside."""
    if padding == "VALID":
        count, low = (size - window) // stride + 1, 0
    else:
        count = -(-size // stride)
        low = max((count - 1) * stride + window - size, 0) // 2
    seen = np.arange(count)[:, None] * stride + np.arange(window) - low
    if padding == "CIRCULAR":
        return seen % size
    return np.where((seen < 0) | (seen >= size), -1, seen)


def taps(spatial, window, strides, padding):
    """Flat source positions, one array an offset in the window, -1 outside; and the new shape."""
    strides = strides or (1,) * len(window)
    axes = [sources(*each, padding) for each in zip(spatial, window, strides, strict=True)]
    lists = []
    for offset in itertools.product(*map(range, window)):
        grid = np.meshgrid(*(a[:, o] for a, o in zip(axes, offset, strict=True)), indexing="ij")
        inside = np.min(grid, axis=0) >= 0
        flat = np.ravel_multi_index([np.maximum(g, 0) for g in grid], spatial)
        lists.append(np.where(inside, flat, -1).ravel())
    return lists, tuple(len(a) for a in axes)


def take(array, positions, axis):
    """Entries at source positions along an axis; 0 (False) outside the image."""
    shape = list(array.shape)
    shape[axis] = 1
    outside = np.zeros(shape, array.dtype)
    return np.take(np.concatenate([array, outside], axis=axis), positions, axis=axis)


# Layers ------------------------------------------------------------------------------------------


class State(NamedTuple):
    """Covariances, NTK and near entries (n, P, n, P), and the finite network's layout."""

    k: np.ndarray
    t: np.ndarray
    near: np.ndarray
    spatial: tuple
    channels: int
    batch_axis: int
    channel_axis: int

    def map(self, linear, **changes):
        """The state after one linear map of the kernels; near is what it touches."""
        touched = linear(self.near.astype(float)) != 0
        return self._replace(k=linear(self.k), t=linear(self.t), near=touched, **changes)

    def spatial_axes(self):
        """The tensor axes of the positions, in order."""
        kept = {self.batch_axis, self.channel_axis}
        return [axis for axis in range(len(self.spatial) + 2) if axis not in kept]

    def spatial_axis(self, axis):
        """The index among the positions' axes of a tensor axis."""
        return self.spatial_axes().index(axis % (len(self.spatial) + 2))


def affine(m, state, unscaled, fan_in, options, channels):
    """A dense layer or a convolution, `unscaled` being the mean over its window."""
    w, b, s = m.real(options.get("W_std", 1.0)), options.get("b_std"), options.get("s", (1, 1))
    moved = state.map(unscaled)
    shift = m.real(0) if b is None else m.real(b) ** 2
    k = w * w * moved.k + shift
    if options.get("parameterization", "ntk") == "ntk":
        return moved._replace(k=k, t=w * w * moved.t + k, channels=channels)
    t = m.real(fan_in) / s[0] * moved.k + w * w * moved.t + (0 if b is None else 1)
    return moved._replace(k=k, t=t, channels=channels * s[1])


def convolution(m, state, channels, window, options):
    """Conv; axes by `dimension_numbers`."""
    letters = "XYZ"[: len(window)]
    numbers = options.get("dimension_numbers") or (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    left, kernel, right = ([c for c in part if c not in "NCIO"] for part in numbers)
    order = [kernel.index(c) for c in left]
    strides = options.get("strides") or (1,) * len(window)
    sizes, steps = [window[o] for o in order], [strides[o] for o in order]
    lists, shape = taps(state.spatial, sizes, steps, options.get("padding", "VALID"))

    def mean(k):
        return sum(take(take(k, p, 1), p, 3) for p in lists) / len(lists)

    state = affine(m, state, mean, state.channels * len(lists), options, channels)
    turn = [left.index(c) for c in right]
    positions = np.arange(math.prod(shape)).reshape(shape).transpose(turn).ravel()
    return state.map(
        lambda k: k[:, positions][:, :, :, positions],
        spatial=tuple(shape[o] for o in turn),
        batch_axis=numbers[2].index("N"),
        channel_axis=numbers[2].index("C"),
    )


def pooling(m, state, name, window, options):
    """AvgPool and SumPool: windows on both sides, each for itself."""
    padding = options.get("padding", "VALID")
    lists, shape = taps(state.spatial, window, options.get("strides"), padding)
    counts = np.full(math.prod(shape), 1 if name == "SumPool" else len(lists))
    if options.get("normalize_edges"):
        counts = sum((p >= 0).astype(int) for p in lists)
    count = np.array([m.real(int(c)) for c in counts])

    def windows(k):
        k = sum(take(k, p, 1) for p in lists) / count[:, None, None]
        return sum(take(k, p, 3) for p in lists) / count

    return state.map(windows, spatial=shape)


def global_pooling(m, state, name):
    """GlobalAvgPool and GlobalSumPool."""
    total = m.real(1 if name == "GlobalSumPool" else math.prod(state.spatial) ** 2)
    batch_first = state.batch_axis < state.channel_axis
    return state.map(
        lambda k: k.sum(axis=(1, 3))[:, None, :, None] / total,
        **{"spatial": (), "batch_axis": 1 - batch_first, "channel_axis": int(batch_first)},
    )


def flatten(m, state, batch_axis_out):
    """Flatten: the mean over equal positions."""
    size = m.real(math.prod(state.spatial))

    def trace(k):
        return np.einsum("ipjp->ij", k)[:, None, :, None] / size

    return state.map(
        trace,
        spatial=(),
        channels=state.channels * math.prod(state.spatial),
        batch_axis=batch_axis_out,
        channel_axis=1 - batch_axis_out,
    )


def layer_norm(m, state, axis, eps):
    """LayerNorm: signals of mean zero, divided by their root mean square over `axis`."""
    n, p = state.k.shape[:2]
    variance = np.einsum("ipip->ip", state.k).reshape(n, *state.spatial)
    axes = {a % (len(state.spatial) + 2) for a in np.atleast_1d(axis)} - {state.channel_axis}
    over = tuple(1 + state.spatial_axis(a) for a in axes)
    size = math.prod(variance.shape[a] for a in over)
    variance = variance.sum(axis=over, keepdims=True) / m.real(size) if over else variance
    norm = m.sqrt(m.real(eps) + np.broadcast_to(variance, (n, *state.spatial)).reshape(n, p))
    return state.map(lambda k: k / norm[:, :, None, None] / norm)


def activation(m, state, layer):
    """An elementwise layer: its dual, on one triangle."""
    function, kinked = dual(m, *layer)
    n, p = state.k.shape[:2]
    i, j = np.triu_indices(n * p)
    k, t, near = (a.reshape(n * p, n * p) for a in (state.k, state.t, state.near))
    q = np.diag(k)
    value, slope = function(k[i, j], q[i], q[j])
    rough, scale = k[i, j].astype(float), np.sqrt((q[i] * q[j]).astype(float))
    parallel = (np.abs(rough) > math.cos(ANGLE) * scale) & (scale > 0) & kinked

    def both(triangle, dtype):
        whole = np.zeros((n * p, n * p), dtype)
        whole[i, j] = triangle
        whole[j, i] = triangle
        return whole.reshape(n, p, n, p)

    return state._replace(
        k=both(value, k.dtype),
        t=both(slope * t[i, j], k.dtype),
        near=both(near[i, j] | parallel, bool),
    )


def fan_in(m, states, name, axis):
    """FanInSum, FanInProd, FanInConcat: independent branches."""
    first = states[0]
    if name == "FanInProd":
        k, t = first.k, first.t
        for other in states[1:]:
            k, t = k * other.k, t * other.k + k * other.t
        return first._replace(k=k, t=t, near=np.any([s.near for s in states], axis=0))
    if name == "FanInSum" or axis % (len(first.spatial) + 2) == first.channel_axis:
        total = sum(s.channels for s in states)
        parts = [m.real(1 if name == "FanInSum" else s.channels) for s in states]
        whole = m.real(1 if name == "FanInSum" else total)
        k, t = (sum(w * a for w, a in zip(parts, each, strict=True)) / whole
                for each in ([s.k for s in states], [s.t for s in states]))  # fmt: skip
        near = np.any([s.near for s in states], axis=0)
        return first._replace(
            k=k, t=t, near=near, channels=first.channels if name == "FanInSum" else total
        )
    index, n = first.spatial_axis(axis), len(first.k)
    length = sum(s.spatial[index] for s in states)
    shape = (*first.spatial[:index], length, *first.spatial[index + 1 :])
    results = [np.zeros((n, *shape, n, *shape), a.dtype) for a in (first.k, first.t, first.near)]
    start = 0
    for s in states:
        rows = [slice(None)] * (len(shape) + 1)
        rows[1 + index] = slice(start, start := start + s.spatial[index])
        for result, a in zip(results, (s.k, s.t, s.near), strict=True):
            result[(*rows, *rows)] = a.reshape(n, *s.spatial, n, *s.spatial)
    p = math.prod(shape)
    k, t, near = (a.reshape(n, p, n, p) for a in results)
    return first._replace(k=k, t=t, near=near, spatial=shape)


def propagate(m, layer, state):
    """The state (or, between FanOut and FanIn, the list of states) after a layer."""
    name, *arguments = layer
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    if name == "serial":
        for inner in arguments:
            state = propagate(m, inner, state)
        return state
    if name == "repeat":
        return propagate(m, ("serial", *[arguments[0]] * arguments[1]), state)
    if name == "parallel":
        return [propagate(m, inner, s) for inner, s in zip(arguments, state, strict=True)]
    if name == "FanOut":
        return [state] * arguments[0]
    if name.startswith("FanIn"):
        return fan_in(m, state, name, *(arguments or [-1]))
    if name == "Identity":
        return state
    if name == "Dense":
        return affine(m, state, lambda k: k, state.channels, options, arguments[0])
    if name == "Conv":
        return convolution(m, state, *arguments, options)
    if name in {"AvgPool", "SumPool"}:
        return pooling(m, state, name, *arguments, options)
    if name in {"GlobalAvgPool", "GlobalSumPool"}:
        return global_pooling(m, state, name)
    if name == "Flatten":
        return flatten(m, state, options.get("batch_axis_out", 0))
    if name == "LayerNorm":
        return layer_norm(m, state, *(arguments or [-1]), options.get("eps", 1e-12))
    return activation(m, state, layer)


def start(x, layout=None, m=DOUBLE):
    """The state of points with axes `layout` (None: batch first, channels last)."""
    batch, channel = (0, x.ndim - 1) if layout is None else map(layout.index, "NC")
    rows = np.moveaxis(x, (batch, channel), (0, -1))
    n, spatial, c = len(rows), rows.shape[1:-1], rows.shape[-1]
    numbers = np.array([m.real(float(v)) for v in rows.ravel()]).reshape(-1, c)
    k = (numbers @ numbers.T / m.real(c)).reshape(n, len(numbers) // n, n, len(numbers) // n)
    return State(k, k * m.real(0), np.zeros(k.shape, bool), spatial, c, batch, channel)


def finish(state):
    """NNGP, NTK and near entries of a state, (n, n) or (n, n, *S, *S')."""
    n, d = len(state.k), len(state.spatial)
    whole = (n, *state.spatial, n, *state.spatial)
    order = (0, d + 1, *range(1, d + 1), *range(d + 2, 2 * d + 2))
    return tuple(a.reshape(whole).transpose(order) for a in (state.k, state.t, state.near))


def kernels(spec, x, layout=None, m=DOUBLE):
    """NNGP, NTK and near entries of points with axes `layout`."""
    return finish(propagate(m, spec, start(x, layout, m)))
