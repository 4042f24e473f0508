"""Tiles: what is predicted of their memory, and what XLA on CPU does badly inside loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.empirical import zoo
from theorylab import empirical
from theorylab.empirical import _cost


def test_memory_stays_inside_the_budget_that_is_asked_for(monkeypatch):
    """Tiles shrink until the prediction fits, and what is compiled stays below the prediction."""
    rng = np.random.default_rng(0)
    params = [rng.normal(size=s).astype(np.float32) for s in ((40, 64), (64, 64), (64, 10))]

    def f(p, x):
        return jnp.tanh(jnp.tanh(x @ p[0]) @ p[1]) @ p[2]

    x = rng.normal(size=(96, 40)).astype(np.float32)
    result = 96 * 96 * 100 * 4
    for budget in (2**20, 2**23):
        monkeypatch.setattr(_cost, "BUDGET", budget)
        jax.clear_caches()
        info = empirical.explain(f, params, x, method="structured", trace_axes=())
        assert info.bytes <= budget
        kernel = jax.jit(lambda p, x: empirical.ntk(f, p, x, method="structured", trace_axes=()))
        memory = kernel.lower(params, x).compile().memory_analysis()
        # Beside the tiles there may be the result in blocks, before they are put in order.
        assert memory.temp_size_in_bytes <= budget + 2 * result


def filters(order, *shape):
    rng = np.random.default_rng(0)
    made = np.float32(rng.normal(size=shape) / np.sqrt(np.prod(shape[:3])))
    return made if order == "NHWC" else made.transpose(3, 2, 0, 1)


def convolutional(order, width=16, size=16):
    """Four convolutions, average pooling, a dense layer; order of axes NHWC or NCHW."""
    numbers = (order, "HWIO" if order == "NHWC" else "OIHW", order)
    shapes = [(3, 3, a, width) for a in (3, width, width, width)]
    params = [filters(order, *shape) for shape in shapes]
    params.append(filters("NHWC", 1, 1, width, 10)[0, 0])
    space = (1, 2) if order == "NHWC" else (2, 3)

    def f(p, x):
        for w in p[:-1]:
            x = jnp.tanh(lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers))
        return x.mean(space) @ p[-1]

    x = np.random.default_rng(1).normal(size=(8, size, size, 3)).astype(np.float32)
    return f, params, x if order == "NHWC" else x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(("n", "tile"), [(8, None), (4, None), (8, 4), (8, 2)])
def test_the_memory_predicted_for_convolutions_is_that_of_the_compiled_program(n, tile):
    f, params, x = convolutional("NHWC")
    options = {"method": "structured", "trace_axes": (), "batch_size": tile}
    predicted = empirical.explain(f, params, x[:n], **options).bytes
    kernel = jax.jit(lambda p, x: empirical.ntk(f, p, x, **options))
    compiled = kernel.lower(params, x[:n]).compile().memory_analysis().temp_size_in_bytes
    assert compiled / 1.6 < predicted < 1.6 * compiled


def orders_inside_loops(jaxpr, inside=False):
    """Axes of the convolutions in loops: (rows, channels, ...), (out, in, ...), (rows, ...)."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated" and inside:
            numbers = equation.params["dimension_numbers"]
            yield numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                loop = inside or equation.primitive.name in ("scan", "while")
                yield from orders_inside_loops(inner, loop)


@pytest.mark.parametrize("method", ["structured", "vector_product", "jacobian"])
@pytest.mark.parametrize("order", ["NHWC", "NCHW"])
def test_convolutions_inside_loops_have_the_order_that_xla_is_fast_at(order, method):
    f, params, x = convolutional(order, width=4, size=6)

    def kernel(p, x):
        return empirical.ntk(f, p, x, method=method, trace_axes=(), batch_size=2)

    found = set(orders_inside_loops(jax.make_jaxpr(kernel)(params, x).jaxpr))
    assert found == {((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))}


def test_what_is_to_be_rematerialised_stays_so_where_it_is_not_read():
    f, params, x = convolutional("NHWC", width=4, size=6)
    g = jax.checkpoint(f)

    def kernel(p, x, method):
        return empirical.ntk(g, p, x, method=method, trace_axes=(), batch_size=2)

    for method in ("vector_product", "jacobian"):
        text = str(jax.make_jaxpr(lambda p, x, m=method: kernel(p, x, m))(params, x))
        assert "checkpoint" in text or "remat" in text
    reference = kernel(params, x, "structured")
    for method in ("vector_product", "jacobian"):
        np.testing.assert_allclose(
            kernel(params, x, method), reference, rtol=0, atol=2e-6 * np.abs(reference).max()
        )


def loops(jaxpr):
    return sum(
        (equation.primitive.name == "scan")
        + sum(
            loops(getattr(value, "jaxpr", value))
            for value in equation.params.values()
            if hasattr(getattr(value, "jaxpr", value), "eqns")
        )
        for equation in jaxpr.eqns
    )


def test_two_tiles_need_no_loop():
    """So each is prepared once; three go round in a circle."""
    case = zoo.CASES["dense"]()
    found = [
        loops(
            jax.make_jaxpr(
                lambda x, size=size: empirical.ntk(
                    case.f, case.params, x, method="structured", batch_size=size
                )
            )(np.float32(case.x[:6])).jaxpr
        )
        for size in (6, 3, 2)
    ]
    assert found == [0, 0, 2]


@pytest.mark.parametrize("n2", [8, 5])
def test_memory_of_rectangles_and_of_several_outputs_is_predicted_too(n2):
    f, params, x = convolutional("NHWC")
    several = lambda p, x: [f(p, x), f(p, x**2), f(p, x + 1)]  # noqa: E731
    options = {"method": "structured", "trace_axes": ()}
    for g in (f, several):
        predicted = empirical.explain(g, params, x, x[:n2] + 1, **options).bytes
        kernel = jax.jit(lambda p, x, y, g=g: empirical.ntk(g, p, x, y, **options))
        compiled = kernel.lower(params, x, x[:n2] + 1).compile().memory_analysis()
        assert compiled.temp_size_in_bytes / 1.9 < predicted < 1.9 * compiled.temp_size_in_bytes


def test_signals_of_all_turns_of_a_loop_are_counted():
    """A deep network in a scan holds what every turn made, whichever method goes back."""
    w = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) / 8
    x = np.ones((16, 128, 64), np.float32)

    def f(w, x):
        deep = lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, length=32)[0]
        return deep.mean((1, 2))[:, None] * jnp.ones(4)

    for method in ("jacobian", "vector_product"):
        options = {"method": method, "trace_axes": (), "batch_size": 8}
        predicted = empirical.explain(f, w, x, **options).bytes
        kernel = jax.jit(lambda w, x, o=options: empirical.ntk(f, w, x, **o))
        compiled = kernel.lower(w, x).compile().memory_analysis().temp_size_in_bytes
        assert predicted > compiled / 3


def test_two_batches_read_apart_agree_on_a_filter_with_an_axis_of_one(x64):
    """One example makes a convolution in one group, three make one in three."""
    rng = np.random.default_rng(0)

    def single(w, x):
        scaled = w * (1 + x.sum((0, 1))[:, None])
        numbers = ("NHWC", "HWIO", "NHWC")
        made = lax.conv_general_dilated(
            x[None], scaled, (1, 1), "SAME", dimension_numbers=numbers, precision="highest"
        )
        return jnp.tanh(made[0]).sum((0, 1))

    f = jax.vmap(single, (None, 0))
    for shape in ((3, 3, 1, 2), (1, 3, 3, 2), (3, 1, 3, 2)):
        w = rng.normal(size=shape)
        x1, x2 = (rng.normal(size=(n, 4, 4, shape[2])) for n in (1, 3))
        for a, b in ((x1, x2), (x2, x1)):
            options = {"trace_axes": (), "batch_axis": None}
            ours = empirical.ntk(f, w, a, b, method="structured", **options)
            reference = empirical.ntk(f, w, a, b, method="jacobian", **options)
            np.testing.assert_allclose(ours, reference, rtol=1e-11, atol=1e-12)


def test_a_filter_used_in_two_precisions_needs_no_implicit_promotion(x64, strict_promotion):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3, 2, 3)).astype(np.float32), rng.normal(size=(3, 4, 4, 2))

    def f(w, x):
        def convolve(x, w):
            numbers = ("NHWC", "HWIO", "NHWC")
            return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)

        narrow = convolve(x.astype(jnp.float32), w).astype(jnp.float64)
        return (narrow + convolve(x, w.astype(jnp.float64))).sum((1, 2))

    options = {"trace_axes": (), "batch_size": 2}
    ours = empirical.ntk(f, w, x, method="structured", **options)
    reference = empirical.ntk(f, w, x, method="jacobian", **options)
    np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.parametrize("method", ["jacobian", "vector_product"])
def test_what_a_network_prints_is_printed(method):
    f, params, x = convolutional("NHWC", width=4, size=6)
    seen = []

    def loud(p, x):
        y = f(p, x)
        jax.debug.callback(lambda total: seen.append(total), y.sum())
        return y

    jax.block_until_ready(empirical.ntk(loud, params, x[:4], method=method, batch_size=2))
    jax.effects_barrier()
    assert seen


def test_a_loop_that_makes_nothing_is_passed_over():
    def f(w, x):
        lax.scan(lambda carry, _: (carry, None), (), jnp.arange(3))
        return x @ w

    x = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(empirical.ntk(f, np.ones((4, 2), np.float32), x), 4.0)


def test_numpy_numbers_that_jax_would_narrow_are_priced_as_it_holds_them():
    f, params, x = convolutional("NHWC", width=4, size=6)
    wide = [np.float64(p) for p in params]
    options = {"method": "structured", "trace_axes": ()}
    info = empirical.explain(f, wide, np.float64(x), **options)
    assert info == empirical.explain(f, params, x, **options)
