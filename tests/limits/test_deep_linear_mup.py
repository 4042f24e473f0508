"""Deep linear limits: bases that grow, against growing arrays, depth one, and wide networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import limits

D_IN, D_OUT, POINTS = 4, 2, 8


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((POINTS, D_IN)) / 2
    return x, x @ rng.standard_normal((D_IN, D_OUT))


def follow(limit, steps, dtype=None, batches=None):
    x, y = (jnp.asarray(a) for a in data())
    x, y = (x, y) if dtype is None else (x.astype(dtype), y.astype(dtype))
    probe = jnp.eye(D_IN, dtype=x.dtype)

    def step(state, rows):
        state, info = limit.step(state, x[rows], y[rows])
        return state, (limit.predict(state, probe), info)

    rows = jnp.tile(jnp.arange(POINTS), (steps, 1)) if batches is None else batches
    return jax.jit(lambda: jax.lax.scan(step, limit.init(dtype=dtype), rows)[1])()


class Growing:
    """An infinite Gaussian matrix, by dictionaries of arrays that grow: the rule written twice."""

    def __init__(self, below, above):
        self.layers = (below, above)  # lists of one number, the dimensions
        self.seen = ([], [])  # (vector, image) of the matrix and of its transpose

    def __call__(self, v, transpose=0):
        seen, other = self.seen[transpose], self.seen[1 - transpose]
        out = self.layers[1 - transpose]
        rest, total = v, np.zeros(out[0])
        for e, image in seen:
            part = padded(e, len(v)) @ rest
            rest = rest - part * padded(e, len(v))
            total = total + part * padded(image, out[0])
        length = np.linalg.norm(rest)
        if length <= 1e-12 * np.linalg.norm(v):
            return total
        e = rest / length
        image = sum(
            (padded(e_t, out[0]) * (padded(image_t, len(e)) @ e) for e_t, image_t in other),
            start=np.zeros(out[0]),
        )
        out[0] += 1
        image = np.append(image, 1.0)
        seen.append((e, image))
        return padded(total, out[0]) + length * image


def padded(v, size):
    return np.append(v, np.zeros(size - len(v)))


def growing_limit(depth, steps, rate, momentum, decay, sigma_w):
    """Gradient descent with lists of pairs (d h^T), sample by sample."""
    x, y = data()
    dims = [[0] for _ in range(depth)]
    dims[0][0] += D_IN
    u = [row for row in np.eye(D_IN)]
    dims[-1][0] += D_OUT
    v = [row for row in np.eye(dims[-1][0])[-D_OUT:]]
    gaussian = [Growing(dims[i], dims[i + 1]) for i in range(depth - 1)]
    c, c_speed = np.full(depth - 1, sigma_w), np.zeros(depth - 1)
    pairs, speeds = [[] for _ in c], [[] for _ in c]  # [factor, d, h]
    u_speed, v_speed = [np.zeros(1)] * D_IN, [np.zeros(1)] * D_OUT

    def layer(i, h, transpose=0):
        image = c[i] * gaussian[i](h, transpose)
        for factor, *ends in pairs[i]:
            a, b = ends if not transpose else ends[::-1]
            image = padded(image, dims[i + 1 - transpose][0])
            image = image + factor * padded(a, len(image)) * (padded(b, len(h)) @ h)
        return image

    def total(vectors, weights, size):
        return sum(w * padded(a, size) for w, a in zip(weights, vectors, strict=True))

    outputs = []
    for _ in range(steps + 1):
        forward = []
        for point in x:
            hs = [total(u, point, dims[0][0])]
            for i in range(depth - 1):
                hs.append(layer(i, hs[-1]))
            forward.append(hs)
        f = np.array([[padded(a, dims[-1][0]) @ padded(hs[-1], dims[-1][0]) for a in v]
                      for hs in forward])  # fmt: skip
        outputs.append(f)
        g_u, g_v = [decay * a for a in u], [decay * a for a in v]
        g_pairs = [[] for _ in c]
        for point, hs, error in zip(x, forward, (f - y) / POINTS, strict=True):
            d = total(v, error, dims[-1][0])
            g_v = [padded(a, dims[-1][0]) + e * padded(hs[-1], dims[-1][0])
                   for a, e in zip(g_v, error, strict=True)]  # fmt: skip
            for i in reversed(range(depth - 1)):
                g_pairs[i].append([1.0, d, hs[i]])
                d = layer(i, d, transpose=1)
            g_u = [padded(a, dims[0][0]) + p * padded(d, dims[0][0])
                   for a, p in zip(g_u, point, strict=True)]  # fmt: skip
        for ws, speed, gs, size in ((u, u_speed, g_u, dims[0]), (v, v_speed, g_v, dims[-1])):
            for j, g in enumerate(gs):
                speed[j] = momentum * padded(speed[j], size[0]) + padded(g, size[0])
                ws[j] = padded(ws[j], size[0]) - rate * speed[j]
        c_speed = momentum * c_speed + decay * c
        for i in range(depth - 1):
            decayed = [[decay * p[0], *p[1:]] for p in pairs[i]]
            speeds[i] = [[momentum * s[0], *s[1:]] for s in speeds[i]] + decayed + g_pairs[i]
            pairs[i] = pairs[i] + [[-rate * s[0], *s[1:]] for s in speeds[i]]
        c = c - rate * c_speed
    return outputs, [d[0] for d in dims]


@pytest.mark.parametrize(("depth", "steps"), [(2, 5), (3, 4)])
def test_masked_bases_do_what_growing_arrays_do_sample_by_sample(x64, depth, steps):
    options = {"momentum": 0.6, "weight_decay": 0.1, "sigma_w": 0.8, "learning_rate": 0.2}
    outputs, _ = growing_limit(depth, steps, *(options[k] for k in (
        "learning_rate", "momentum", "weight_decay", "sigma_w")))  # fmt: skip
    limit = limits.deep_linear_mup(D_IN, D_OUT, depth, **options)
    ours, info = follow(limit, steps)
    x, _ = data()
    np.testing.assert_allclose(x @ ours[-1], outputs[-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(x @ ours[0], outputs[1], rtol=0, atol=1e-13)
    assert info.status[-1] == limits.Status.OK and np.max(np.abs(outputs[-1])) > 0.1


def test_depth_one_is_the_limit_with_one_hidden_layer(x64):
    options = {"momentum": 0.7, "weight_decay": 0.02, "clip": 0.3, "learning_rate": 0.2}
    options |= {"sigma_u": 0.7, "sigma_v": 1.3}
    ours, ours_info = follow(limits.deep_linear_mup(D_IN, D_OUT, 1, **options), 60)
    theirs, info = follow(limits.linear_mup(D_IN, D_OUT, **options), 60)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours_info.gradient_norm, info.gradient_norm, rtol=1e-12)
    assert set(np.asarray(ours_info.sizes).ravel()) == {D_IN + D_OUT}
    assert info.gradient_norm[0] > 0.3 > info.gradient_norm[-1]


def dense(widths, depth, steps, seeds, **options):
    """Errors of dense networks, by hand in NumPy; batched over seeds."""
    x, y = data()
    x, y = x.astype(np.float32), y.astype(np.float32)  # 1e-5 of the errors that are looked for
    rng = np.random.default_rng(1)
    rate, clip, momentum = options["learning_rate"], options["clip"], options["momentum"]
    for n in widths:
        shapes = [(seeds, n, D_IN), *[(seeds, n, n)] * (depth - 1), (seeds, D_OUT, n)]
        weights = [rng.standard_normal(shape, np.float32) / np.float32(n**0.5) for shape in shapes]
        speeds = [np.zeros_like(w) for w in weights]
        for _ in range(steps):
            forward = [weights[0]]
            for w in weights[1:]:
                forward.append(w @ forward[-1])
            delta = (forward[-1] @ x.T - y.T) @ x / POINTS
            back, gradients = delta, []
            for w, f in zip(weights[:0:-1], forward[-2::-1], strict=True):
                gradients.append(back @ f.swapaxes(1, 2))
                back = w.swapaxes(1, 2) @ back
            gradients = [back, *gradients[::-1]]
            norms = np.sqrt(sum((g**2).sum((1, 2), keepdims=True) for g in gradients))
            factor = np.minimum(1, clip / norms)
            speeds = [momentum * s + factor * g for s, g in zip(speeds, gradients, strict=True)]
            weights = [w - rate * s for w, s in zip(weights, speeds, strict=True)]
        f = weights[0]
        for w in weights[1:]:
            f = w @ f
        yield f.swapaxes(1, 2)


def test_dense_networks_approach_the_deep_limit_as_one_over_the_root_of_their_width(x64):
    options = {"learning_rate": 0.3, "momentum": 0.5, "clip": 0.5}
    depth, steps, seeds, widths = 3, 4, 24, (128, 384)
    ours = np.asarray(follow(limits.deep_linear_mup(D_IN, D_OUT, depth, **options), steps)[0][-1])
    single, averaged = [], []
    for f in dense(widths, depth, steps, seeds, **options):
        single.append(np.sqrt(np.mean((f - ours) ** 2)))
        averaged.append(np.sqrt(np.mean((f.mean(0) - ours) ** 2)))
    slope = np.log(single[1] / single[0]) / np.log(widths[1] / widths[0])
    assert -0.65 < slope < -0.4 and np.abs(ours).max() > 0.1
    assert averaged[0] < 0.5 * single[0] and averaged[1] < 0.5 * single[1]


def test_the_drawn_networks_start_and_train_as_the_limit_says(x64):
    options = {"learning_rate": 0.3, "sigma_u": 0.9, "sigma_w": 0.8, "sigma_v": 1.2}
    limit = limits.deep_linear_mup(D_IN, D_OUT, 2, **options)
    params, apply = limits.finite_width_like(limit, 1000, jax.random.key(0))
    for name, sigma in (("u", 0.9), ("hidden", 0.8), ("v", 1.2)):
        size = float(jnp.mean(params[name] ** 2) * 1000 / sigma**2)
        assert abs(size - 1) < 4 * (2 / params[name].size) ** 0.5
    x, y = (jnp.asarray(a) for a in data())
    tx = limits.optimizer_like(limit)

    def step(carry, _):
        params, inner = carry
        g = jax.grad(lambda p: jnp.sum((apply(p, x) - y) ** 2) / (2 * POINTS))(params)
        updates, inner = tx.update(g, inner, params)
        return (jax.tree.map(jnp.add, params, updates), inner), None

    (params, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=5))(params)
    ours = follow(limit, 5)[0][-1]
    assert jnp.max(jnp.abs(apply(params, jnp.eye(D_IN)) - ours)) < 0.15  # O(1 / sqrt(1000))
    assert jnp.max(jnp.abs(ours)) > 0.4


def test_bases_stay_below_the_bound_and_batches_of_one_point_below_theirs(x64):
    depth, steps = 2, 6
    batches = jnp.arange(steps)[:, None] % POINTS
    for rows, batch in ((None, None), (batches, 1)):
        limit = limits.deep_linear_mup(D_IN, D_OUT, depth, learning_rate=0.2)
        sizes = np.asarray(follow(limit, steps, batches=rows)[1].sizes)
        for step in range(steps):
            bound = limits.deep_linear_capacity(D_IN, D_OUT, depth, step + 1, batch=batch)
            assert sizes[step].max() <= bound
        assert np.all(sizes[-1] > sizes[0])


def test_a_capacity_too_small_is_told_and_makes_no_numbers(x64):
    roomy, info = follow(limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.2), 8)
    sizes = np.asarray(info.sizes).max(axis=1)
    capacity = int(sizes[3])
    tight = limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.2, capacity=capacity)
    predicted, info = follow(tight, 8)
    fits = sizes <= capacity
    assert fits.any() and not fits.all()
    np.testing.assert_array_equal(info.status == limits.Status.CAPACITY, ~fits)
    np.testing.assert_allclose(predicted[fits], roomy[fits], rtol=0, atol=1e-13)
    assert np.isnan(predicted[~fits]).all()


def test_a_tolerance_makes_bases_smaller_at_an_error_of_its_size(x64):
    ours, info = follow(limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.3), 16)
    limit = limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.3, tolerance=1e-4)
    near, fewer = follow(limit, 16)
    assert 0 < np.max(np.abs(near - ours)) < 1e-3
    assert np.all(fewer.sizes[-1] < info.sizes[-1])
    assert set(np.asarray(info.status)) == set(np.asarray(fewer.status)) == {limits.Status.OK}


def test_float32_agrees_with_float64_and_bases_do_not_grow_by_rounding(x64):
    limit = limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.3)
    narrow, info = follow(limit, 60, jnp.float32)
    wide, _ = follow(limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=0.3, capacity=130), 60)
    assert {narrow.dtype, info.loss.dtype} == {jnp.dtype(jnp.float32)}
    assert 0 < np.max(np.abs(narrow - wide)) < 1e-4
    assert info.status[-1] == limits.Status.OK  # 38 vectors are enough, not the 126 of the bound


def test_a_rate_too_large_is_told_as_divergence():
    limit = limits.deep_linear_mup(D_IN, D_OUT, 2, learning_rate=50.0)
    _, info = follow(limit, 12, jnp.float32)
    assert info.status[0] == limits.Status.OK and info.status[-1] == limits.Status.DIVERGED


def test_a_loss_that_overflows_is_divergence_even_if_clipping_keeps_the_state_finite():
    x, y = (jnp.asarray(a, jnp.float32) for a in (np.ones((4, 2)), np.ones((4, 1))))
    limit = limits.deep_linear_mup(2, 1, 2, learning_rate=0.1, clip=1.0)
    state, first = limit.step(limit.init(), x, y)
    state, lost = limit.step(state, x, 1e25 * y)
    _, later = limit.step(state, x, y)
    assert jnp.isinf(lost.loss) and [int(i.status) for i in (first, lost, later)] == [0, 2, 2]
