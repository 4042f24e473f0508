"""Models that are easily misread: names that mislead, states that are no weights, odd trees."""

import copy
from collections import namedtuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parametrization.models import named_specs
from theorylab.parametrization import (
    Rule,
    apply_multipliers,
    infer_specs,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
)

KEY = jax.random.key(0, impl="rbg")  # of which draws compile in a third of the time


def leaf(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def specs(make, **options):
    return named_specs(infer_specs(make(8), make(12), make(32), **options))


def equinox_specs(make, **options):
    return specs(lambda n: eqx.filter_eval_shape(make, n), convention="equinox", **options)


# Names that mislead -----------------------------------------------------------------------------


def test_a_linear_map_of_equinox_that_embeds_patches_is_no_table_of_embeddings():
    class Patches(eqx.Module):
        patch_embed: eqx.nn.Linear
        tokens: eqx.nn.Embedding

        def __init__(self, n):
            self.patch_embed = eqx.nn.Linear(12, n, key=KEY)
            self.tokens = eqx.nn.Embedding(7, n, key=KEY)

    found = equinox_specs(Patches)
    assert found["tokens/weight"].kind == "input"
    assert found["patch_embed/weight"].kind == "input"
    assert found["patch_embed/weight"].roles.fan_in == (1,)


@pytest.mark.parametrize("name", ["pos_embed", "pos_embedding", "position_embeddings"])
def test_positions_kept_as_a_bare_array_are_a_table_in_either_order_of_kernels(name):
    for convention in ("flax", "equinox"):
        found = specs(lambda n: {name: leaf(16, n)}, convention=convention)
        assert found[name].kind == "input"


@pytest.mark.parametrize("heads_grow", [False, True])
def test_general_dense_maps_tell_their_outputs_by_the_rank_of_their_bias(heads_grow):
    """Both axes of heads are outputs; to read the first as one of the inputs makes a read-out."""

    def make(n):
        heads = (n, 4) if heads_grow else (4, n)
        return {"mixer": {"kernel": leaf(3, *heads), "bias": leaf(*heads)}}

    found = specs(make)["mixer/kernel"]
    assert (found.kind, found.fan_out_ratio) == ("input", 4)


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_a_convolution_named_as_a_part_of_attention_is_a_convolution(name):
    found = specs(lambda n: {name: {"kernel": leaf(1, n, n), "bias": leaf(n)}})
    spec = found[f"{name}/kernel"]
    assert (spec.kind, spec.fan_in_ratio, spec.head_ratio) == ("hidden", 4, 1)


def test_a_matrix_called_b_is_a_matrix():
    found = specs(lambda n: {"a": leaf(3, n), "b": leaf(n, 2)})
    assert found["b"].kind == "output"


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_keys_and_values_of_fewer_heads_than_queries_have(kv_heads):
    """Heads of a length that grows: keys are hidden, their fan-out grows as their fan-in."""

    def make(n):
        def part(heads):
            return {"kernel": leaf(4 * n, heads, n)}

        return {"query": part(4), "key": part(kv_heads), "out": {"kernel": leaf(4, n, 4 * n)}}

    found = specs(make)
    for name in ("query", "key", "out"):
        spec = found[f"{name}/kernel"]
        assert (spec.kind, spec.fan_in_ratio, spec.fan_out_ratio) == ("hidden", 4, 4)
    # more heads of one length, but as few for keys: their fan-out does not grow
    found = specs(
        lambda n: {"query": {"kernel": leaf(4 * n, n, 4)}, "key": {"kernel": leaf(4 * n, 1, 4)}}
    )
    assert (found["query/kernel"].kind, found["key/kernel"].kind) == ("hidden", "output")
    assert found["query/kernel"].head_ratio == 1


# Initial values by libraries --------------------------------------------------------------------


@pytest.mark.parametrize("cell", [eqx.nn.GRUCell, eqx.nn.LSTMCell])
def test_recurrent_cells_of_equinox_draw_all_they_have_by_their_hidden_size(cell):
    """Beside what they draw: 64 times as wide, deviations are an eighth of the base's."""
    small, large = (cell(3, n, key=KEY) for n in (16, 1024))
    middle = eqx.filter_eval_shape(cell, 3, 17, key=KEY)
    found = named_specs(infer_specs(small, middle, large, convention="equinox"))
    narrow, wide = named_specs(small), named_specs(large)
    for name, spec in found.items():
        if spec.kind != "scalar":
            drawn = float(np.std(wide[name]) / np.std(narrow[name]))
            assert spec.init_ratio == pytest.approx(drawn, rel=0.35), name


@pytest.mark.parametrize(
    ("make", "convention"),
    [
        (lambda n: eqx.nn.Linear(n, 40, key=KEY), "equinox"),
        (lambda n: eqx.nn.Conv1d(n, n, 3, key=KEY), "equinox"),
        (lambda n: eqx.nn.ConvTranspose1d(n, 40, 3, key=KEY), "equinox"),
        (lambda n: eqx.nn.Embedding(40, n, key=KEY), "equinox"),
        (lambda n: nn.Embed(40, n).init(KEY, jnp.zeros(1, int)), "flax"),
        (lambda n: nn.Dense(40, use_bias=False).init(KEY, jnp.zeros((1, n))), "flax"),
    ],
)
def test_initial_deviations_are_those_that_libraries_draw_with(make, convention):
    small, large = make(16), make(256)
    middle = eqx.filter_eval_shape(make, 17)
    found = named_specs(infer_specs(small, middle, large, convention=convention))
    narrow, wide = named_specs(small), named_specs(large)
    for name, spec in found.items():
        if getattr(narrow[name], "size", 0) > 1:
            drawn = float(np.std(wide[name]) / np.std(narrow[name]))
            assert spec.init_ratio == pytest.approx(drawn, rel=0.25)


# States that are no weights ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table3", "table8", "table9", "spectral"])
def test_running_means_and_variances_of_flax_are_left_alone(form):
    class Net(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.BatchNorm(False)(nn.Dense(self.width)(x)))

    shapes = [jax.eval_shape(Net(n).init, KEY, jnp.zeros((1, 3))) for n in (8, 12, 32)]
    scales = leaf_scales(infer_specs(*shapes), form=form)
    for scale in jax.tree.leaves(scales["batch_stats"]):
        assert (scale.multiplier, scale.init_std) == (1, 1)


# Trees ------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "w b")


def test_every_container_is_kept():
    def make(n):
        return Pair([leaf(3, n), None, (leaf(n, n),)], {0: leaf(n), 1: leaf(dtype=jnp.int32)})

    found = infer_specs(make(8), make(12), make(32))
    kinds = jax.tree.map(lambda spec: spec.kind, found)
    assert kinds == Pair(["input", None, ("hidden",)], {0: "input", 1: "scalar"})
    assert copy.deepcopy(found) == found
    assert jax.tree.structure(leaf_scales(found)) == jax.tree.structure(make(32))


def test_fields_called_value_are_named_unless_they_are_boxes():
    Both = namedtuple("Both", "query value")

    def make(n):
        return {"a": Both(leaf(3, n), leaf(n, 2))}

    rules = [Rule("^a/value$", fan_out=(0,))]
    found = infer_specs(make(8), make(12), make(32), rules=rules)["a"]
    assert (found.query.kind, found.value.kind) == ("input", "input")


def test_a_single_matrix_is_a_tree():
    found = infer_specs(leaf(3, 8), leaf(3, 12), leaf(3, 32))
    assert (found.kind, found.fan_out_ratio) == ("input", 4)


def test_complex_weights_are_scaled_as_real_ones_are():
    def make(n):
        return {"w": leaf(n, 3, dtype=jnp.complex64)}

    scales = leaf_scales(infer_specs(make(8), make(12), make(32)))
    w = {"w": np.full((32, 3), 1 + 2j, np.complex64)}
    out = apply_multipliers(w, scales)["w"]
    assert out.dtype == np.complex64
    np.testing.assert_array_equal(out, w["w"] / 4)


def test_keys_with_slashes_in_them_that_name_two_leaves_alike_are_named():
    def make(n):
        return {"a": {"b": leaf(3, n)}, "a/b": leaf(n, 2)}

    with pytest.raises(ValueError, match="'a/b'"):
        infer_specs(make(8), make(12), make(32))


def test_the_filter_of_equinox_on_shapes_alone_is_told_what_is_missing():
    """``is_inexact_array`` holds for no shape, so nothing is left but None."""

    def make(n):
        shapes = eqx.filter_eval_shape(eqx.nn.Linear, 3, n, key=KEY)
        return eqx.filter(shapes, eqx.is_inexact_array)

    with pytest.raises(TypeError, match="base must be a tree with .* got no|base .*filter"):
        infer_specs(make(8), make(12), make(32), convention="equinox")


@pytest.mark.parametrize(
    "use",
    [rescale_init, apply_multipliers, lambda p, s: scale_by_parametrization(s).init(p)],
    ids=["rescale_init", "apply_multipliers", "scale_by_parametrization"],
)
def test_specs_in_the_place_of_scales_are_refused(use):
    found = infer_specs({"w": leaf(3, 8)}, {"w": leaf(3, 12)}, {"w": leaf(3, 32)})
    with pytest.raises(TypeError, match="LeafScale.*leaf_scales"):
        use({"w": jnp.ones((3, 32))}, found)


def test_depth_ratios_of_rules_are_positive():
    with pytest.raises(ValueError, match="depth_ratio must be .*positive.*-1"):
        Rule("w", depth_ratio=-1.0)
