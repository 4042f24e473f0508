"""Every layer passes the same tests: a new one is one line in ``LAYERS``."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

IMAGE = (2, 5, 6, 3)
LAYERS = [
    (tl.Dense(4, 1.2, 0.3), (2, 3)),
    (tl.Dense(4, 1.2, 0.3, "standard", (2, 3)), (2, 3)),
    (tl.Dense(4, 1.2, channel_axis=1), IMAGE),
    (tl.Conv(4, (3, 2), (2, 1), "SAME", 1.2, 0.3), IMAGE),
    (tl.Conv(4, (3, 2), None, "CIRCULAR", 1.2, 0.3, None, "standard", (2, 3)), IMAGE),
    (tl.Conv(4, (3, 2), None, "VALID", 1.2, None, ("CNWH", "OHIW", "HNCW")), IMAGE),
    (tl.AvgPool((3, 2), (2, 1), "SAME", normalize_edges=True), IMAGE),
    (tl.SumPool((3, 2), (2, 1), "CIRCULAR", channel_axis=1), IMAGE),
    (tl.GlobalAvgPool(), IMAGE),
    (tl.GlobalSumPool(channel_axis=1), IMAGE),
    (tl.Flatten(batch_axis=1), IMAGE),
    (tl.LayerNorm((1, -1)), IMAGE),
    (tl.FanOut(2), IMAGE),
    (tl.FanInSum(), (IMAGE, IMAGE)),
    (tl.FanInProd(), (IMAGE, IMAGE)),
    (tl.FanInConcat(2), (IMAGE, IMAGE)),
    (tl.Identity(), IMAGE),
    (tl.Relu(), IMAGE),
    (tl.Abs(), IMAGE),
    (tl.LeakyRelu(0.3), IMAGE),
    (tl.ABRelu(0.3, 1.2), IMAGE),
    (tl.Erf(1.1, 0.9, 0.2), IMAGE),
    (tl.Gelu(), IMAGE),
    (tl.Sin(1.1, 0.9, 0.2), IMAGE),
    (tl.Cos(1.1, 0.9, 0.2), IMAGE),
    (tl.Rbf(0.7), IMAGE),
    (tl.serial(tl.Dense(4, 1.2), tl.Relu()), IMAGE),
    (tl.parallel(tl.Dense(4, 1.2), tl.Relu()), (IMAGE, IMAGE)),
    (tl.repeat(tl.serial(tl.Dense(4, 1.2), tl.Erf()), 3), IMAGE),
]
BATTERY = pytest.mark.parametrize(
    ("layer", "shape"), LAYERS, ids=[f"{i}-{type(x).__name__}" for i, (x, _) in enumerate(LAYERS)]
)
# For every static field another value that the layer above would accept.
OTHER = {
    "out_dim": 5,
    "out_chan": 5,
    "filter_shape": (2, 2),
    "window_shape": (2, 2),
    "strides": (3, 3),
    "padding": "CIRCULAR",
    "dimension_numbers": ("NWHC", "HWIO", "NHWC"),
    "parameterization": "standard",
    "s": (7, 5),
    "normalize_edges": False,
    "batch_axis": 2,
    "batch_axis_out": 1,
    "channel_axis": 3,
    "axis": 3,
    "eps": 1e-3,
    "num": 3,
    "approximate": True,
    "times": 4,
}


def is_shape(shape):
    return all(isinstance(n, int) for n in shape)


def arrays(shape, dtype, seed=0):
    """Random inputs for a shape or a tuple of shapes."""
    if is_shape(shape):
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return tuple(arrays(one, dtype, seed + i) for i, one in enumerate(shape))


def parameters(layer, shape):
    """Random numbers in the place of parameters; drawing them would have to be compiled."""
    drawn = jax.eval_shape(lambda key: layer.init(key, shape), jax.random.key(0))
    return jax.tree.map(lambda a: arrays(a.shape, np.float32, a.size), drawn)


def shapes(tree):
    return jax.tree.map(jnp.shape, tree)


def close(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-5), one, other))


@BATTERY
def test_it_is_a_frozen_value_and_a_pytree(layer, shape):
    leaves, structure = jax.tree.flatten(layer)
    same = jax.tree.unflatten(structure, leaves)
    assert same == layer and hash(same) == hash(layer) and repr(same) == repr(layer)
    assert hash(structure) == hash(jax.tree.structure(same))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.nothing = 1
    assert dataclasses.replace(layer) == layer  # what was brought into one form keeps it


@BATTERY
def test_every_static_field_is_part_of_the_structure(layer, shape):
    for field in dataclasses.fields(layer):
        if field.metadata.get("static") and getattr(layer, field.name) != OTHER[field.name]:
            try:
                other = dataclasses.replace(layer, **{field.name: OTHER[field.name]})
            except ValueError:  # two axes that became one, three letters for two sizes
                continue
            assert other != layer, field.name
            assert jax.tree.structure(other) != jax.tree.structure(layer), field.name


def test_some_layer_tries_every_static_field():
    tried = set()
    for layer, _ in LAYERS:
        for field in dataclasses.fields(layer):
            if field.metadata.get("static") and getattr(layer, field.name) != OTHER[field.name]:
                dataclasses.replace(layer, **{field.name: OTHER[field.name]})
                tried.add(field.name)
    assert tried == set(OTHER)


@BATTERY
def test_apply_has_the_shape_that_output_shape_says(layer, shape):
    params = jax.eval_shape(lambda key: layer.init(key, shape), jax.random.key(0))
    inputs = jax.eval_shape(lambda: arrays(shape, np.float32))
    assert shapes(jax.eval_shape(layer.apply, params, inputs)) == layer.output_shape(shape)


@BATTERY
def test_the_dtype_is_that_of_the_input(layer, shape):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        params = jax.eval_shape(lambda key: layer.init(key, shape), jax.random.key(0))
        for dtype in (np.float32, np.float64):
            inputs = jax.eval_shape(lambda dtype=dtype: arrays(shape, dtype))
            outputs = jax.tree.leaves(jax.eval_shape(layer.apply, params, inputs))
            assert {y.dtype for y in outputs} == {np.dtype(dtype)}


@BATTERY
def test_it_may_be_compiled_mapped_and_differentiated(layer, shape):
    x = arrays(shape, np.float32)
    params = parameters(layer, shape)
    two = jax.tree.map(lambda a: np.stack([a, 2 * a]), x)

    def loss(layer, params, x):
        return sum(jnp.sum(out**2) for out in jax.tree.leaves(layer.apply(params, x)))

    @jax.jit
    def compiled(layer, params, two):
        mapped = jax.vmap(layer.apply, (None, 0))(params, two)
        return mapped, jax.grad(loss, argnums=(0, 1, 2))(layer, params, x)

    mapped, slopes = compiled(layer, params, two)
    for i in (0, 1):
        one = layer.apply(params, jax.tree.map(lambda a, i=i: a[i], two))
        assert close(jax.tree.map(lambda a, i=i: a[i], mapped), one)
    assert shapes(slopes) == shapes((layer, params, x))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@BATTERY
def test_products_run_at_the_highest_precision(layer, shape):
    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                assert str(equation.params["precision"]).count("HIGHEST") == 2
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    walk(value.jaxpr)

    x = arrays(shape, np.float32)
    walk(jax.make_jaxpr(layer.apply)(parameters(layer, shape), x).jaxpr)


@pytest.mark.parametrize(
    ("layer", "shape"), [(x, s) for x, s in LAYERS if not isinstance(x, tl.Identity | tl.FanOut)]
)
def test_inputs_of_the_wrong_kind_are_named(layer, shape):
    name = type(layer).__name__
    wrong = (IMAGE,) if is_shape(shape) else IMAGE
    for call in (
        lambda: layer.output_shape(wrong),
        lambda: layer.init(jax.random.key(0), wrong),
        lambda: layer.apply(parameters(layer, shape), arrays(wrong, np.float32)),
    ):
        with pytest.raises(ValueError, match="Dense: " if name in ("Serial", "Repeat") else ": "):
            call()


@pytest.mark.parametrize("spec", ["NCHW", "HCNW"])
def test_a_network_does_not_care_how_its_axes_are_ordered(spec):
    """With equal parameters, the outputs are the same numbers."""

    def network(spec):
        axes = {"batch_axis": spec.index("N"), "channel_axis": spec.index("C")}
        numbers = (spec, "HWIO", spec)
        flat = {k: sorted(axes.values()).index(v) for k, v in axes.items()}
        return tl.serial(
            tl.Conv(5, (3, 2), (1, 2), "SAME", 1.3, 0.2, numbers),
            tl.Relu(),
            tl.AvgPool((2, 2), None, "SAME", True, **axes),
            tl.LayerNorm((spec.index("C"), spec.index("H")), **axes),
            tl.Dense(4, 1.1, 0.1, **axes),
            tl.FanOut(2),
            tl.parallel(tl.Erf(), tl.SumPool((1, 1), **axes)),
            tl.FanInConcat(spec.index("C")),
            tl.Conv(5, (2, 2), None, "CIRCULAR", dimension_numbers=numbers),
            tl.GlobalAvgPool(**axes),
            tl.Dense(2, **flat),
        )

    x = arrays((3, 6, 5, 2), np.float32)
    turned = jnp.transpose(x, ["NHWC".index(letter) for letter in spec])
    plain, other = network("NHWC"), network(spec)
    params = parameters(plain, x.shape)
    assert shapes(parameters(other, turned.shape)) == shapes(params)
    y, z = jax.jit(lambda: (plain.apply(params, x), other.apply(params, turned)))()
    assert np.allclose(z if spec.index("N") < spec.index("C") else z.T, y, atol=1e-5)
