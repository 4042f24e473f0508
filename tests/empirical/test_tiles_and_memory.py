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


def test_two_tiles_are_prepared_once(monkeypatch):
    """Half of the rows with half of the columns: no example goes through the network twice."""
    case = zoo.CASES["dense"]()
    x = np.concatenate([case.x, case.x])[:8]

    def operations(tile):
        kernel = jax.jit(lambda x: empirical.ntk(case.f, case.params, x, batch_size=tile))
        return kernel.lower(x).compile().cost_analysis()["flops"]

    assert operations(4) < 1.3 * operations(8)


def test_numpy_numbers_that_jax_would_narrow_are_priced_as_it_holds_them():
    f, params, x = convolutional("NHWC", width=4, size=6)
    wide = [np.float64(p) for p in params]
    options = {"method": "structured", "trace_axes": ()}
    info = empirical.explain(f, wide, np.float64(x), **options)
    assert info == empirical.explain(f, params, x, **options)
