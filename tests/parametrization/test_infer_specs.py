"""Width classes: kinds, ratios and roles from three trees of shapes."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab.parametrization import (
    AxisRoles,
    LeafSpec,
    Rule,
    infer_specs,
    infer_specs_from_init,
    load_base_shapes,
    save_base_shapes,
)

KEY = jax.random.key(0)


def leaf(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def mlp(d, ff=None):
    """Shapes of a plain network with two widths."""
    ff = 2 * d if ff is None else ff
    return {
        "first": {"kernel": leaf(3, d), "bias": leaf(d)},
        "up": {"kernel": leaf(d, ff), "bias": leaf(ff)},
        "down": {"kernel": leaf(ff, d), "bias": leaf(d)},
        "norm": {"scale": leaf(d)},
        "last": {"kernel": leaf(d, 5), "bias": leaf(5)},
    }


def test_each_leaf_is_classed_by_which_of_its_fans_grow():
    specs = infer_specs(mlp(8), mlp(16), mlp(32, 128))
    found = {
        "/".join(k.key for k in path): (s.kind, s.fan_in_ratio, s.fan_out_ratio)
        for path, s in jax.tree_util.tree_flatten_with_path(specs)[0]
    }
    assert found == {
        "first/kernel": ("input", 1, 4),
        "first/bias": ("input", 1, 4),
        "up/kernel": ("hidden", 4, 8),
        "up/bias": ("input", 1, 8),
        "down/kernel": ("hidden", 8, 4),
        "down/bias": ("input", 1, 4),
        "norm/scale": ("input", 1, 4),
        "last/kernel": ("output", 4, 1),
        "last/bias": ("scalar", 1, 1),
    }


def test_arrays_shapes_and_functions_give_the_same_specs():
    def make(n):
        return lambda: {"w": jnp.zeros((3, n)), "v": jnp.zeros((n, 2))}

    arrays = infer_specs(make(4)(), make(5)(), make(8)())
    assert arrays == infer_specs(make(4), make(5), make(8))
    shapes = [jax.eval_shape(make(n)) for n in (4, 5, 8)]
    assert arrays == infer_specs(*shapes)


def test_equinox_order_swaps_inputs_and_outputs():
    def swapped(d):
        return {"w": {"weight": leaf(7, d)}, "conv": {"weight": leaf(d, 3, 5, 5)}}

    specs = infer_specs(swapped(8), swapped(9), swapped(24), convention="equinox")
    assert specs["w"]["weight"].kind == "output"
    assert specs["conv"]["weight"].roles == AxisRoles((1, 2, 3), (0,))
    flax = infer_specs(swapped(8), swapped(9), swapped(24), rules=[Rule("conv", (1, 2, 3), (0,))])
    assert flax["w"]["weight"].kind == "input"


def test_windows_of_convolutions_count_as_inputs_and_do_not_change_ratios():
    def conv(c):
        return {"kernel": leaf(3, 3, c, 2 * c)}

    spec = infer_specs(conv(4), conv(8), conv(16))["kernel"]
    assert spec.roles == AxisRoles((0, 1, 2), (3,))
    assert (spec.kind, spec.fan_in_ratio, spec.fan_out_ratio) == ("hidden", 4, 4)


@pytest.mark.parametrize("library", ["linen", "nnx"])
@pytest.mark.parametrize(("n_in", "n_out"), [(None, 3), (3, None), (4, None)])
def test_transposed_kernels_are_told_by_the_bias_beside_them(library, n_in, n_out):
    from flax import linen, nnx

    def fans(n):
        return n_in or n, n_out or n

    def kernel(n, transposed, key=KEY):
        fan_in, fan_out = fans(n)
        if library == "linen":
            layer = linen.ConvTranspose(fan_out, (2, 2), transpose_kernel=transposed)
            return layer.init(key, jnp.zeros((1, 5, 5, fan_in)))["params"]
        options = {"transpose_kernel": transposed, "rngs": nnx.Rngs(key)}
        layer = nnx.ConvTranspose(fan_in, fan_out, (2, 2), **options)
        return nnx.to_pure_dict(nnx.state(layer, nnx.Param))

    def spec(transposed):
        trees = [jax.eval_shape(lambda n=n: kernel(n, transposed)) for n in (4, 5, 256)]
        return infer_specs(*trees)["kernel"]

    plain, swapped = spec(False), spec(True)
    assert plain.roles == AxisRoles((0, 1, 2), (3,))
    assert swapped.roles == AxisRoles((0, 1, 3), (2,))
    for name in ("kind", "fan_in_ratio", "fan_out_ratio"):
        assert getattr(swapped, name) == getattr(plain, name)
    for transposed, found in ((False, plain), (True, swapped)):
        drawn = [float(jnp.std(kernel(n, transposed)["kernel"])) for n in (4, 256)]
        assert drawn[1] / drawn[0] == pytest.approx(found.init_ratio, rel=0.3)


def test_biases_are_compared_without_the_axes_of_a_batch():
    def read(of_kernel, of_bias, **rules):
        trees = [{"kernel": leaf(*of_kernel(n)), "bias": leaf(*of_bias(n))} for n in (4, 5, 16)]
        batches = [Rule(name, batch=(axis,)) for name, axis in rules.items()]
        return infer_specs(*trees, rules=batches)["kernel"]

    for stacked, found in (
        (read(lambda n: (6, 2, 2, 3, n), lambda n: (6, 3), kernel=0, bias=0), ((1, 2, 4), (3,))),
        (read(lambda n: (6, 2, 2, n, 3), lambda n: (6, n), kernel=0, bias=0), ((1, 2, 4), (3,))),
        (read(lambda n: (6, 2, 2, 6, n), lambda n: (6, n), kernel=0, bias=0), ((1, 2, 3), (4,))),
        (read(lambda n: (2, 2, n, 3, 6), lambda n: (3, 6), kernel=4, bias=1), ((0, 1, 2), (3,))),
        (read(lambda n: (3, n, 6), lambda n: (n,), kernel=2), ((0,), (1,))),
    ):
        assert (stacked.roles.fan_in, stacked.roles.fan_out) == found


def test_a_bias_for_each_head_does_not_turn_a_kernel_of_attention():
    trees = [{"query": {"kernel": leaf(n, 4, 2 * n), "bias": leaf(4)}} for n in (4, 5, 16)]
    assert infer_specs(*trees)["query"]["kernel"].roles == AxisRoles((0,), (1, 2))


@pytest.mark.parametrize("heads_grow", [False, True])
def test_attention_kernels_of_rank_3_have_groups_of_axes(heads_grow):
    def attention(n):
        heads, size = (n, 4) if heads_grow else (2, n)
        d = heads * size
        return {
            "query": {"kernel": leaf(d, heads, size), "bias": leaf(heads, size)},
            "out": {"kernel": leaf(heads, size, d), "bias": leaf(d)},
        }

    specs = infer_specs(attention(4), attention(6), attention(16))
    assert specs["query"]["kernel"].roles == AxisRoles((0,), (1, 2))
    assert specs["out"]["kernel"].roles == AxisRoles((0, 1), (2,))
    assert specs["query"]["bias"].kind == "input"
    for spec in (specs["query"]["kernel"], specs["out"]["kernel"]):
        assert (spec.kind, spec.fan_in_ratio, spec.fan_out_ratio) == ("hidden", 4, 4)
    assert specs["query"]["kernel"].head_ratio == (1 if heads_grow else 4)
    assert specs["out"]["kernel"].head_ratio == 1


def test_stacked_layers_are_a_batch_and_give_the_depth():
    def stack(layers, n):
        return {"kernel": leaf(layers, n, n), "bias": leaf(layers, n)}

    rules = [Rule("kernel|bias", batch=(0,), depth_ratio="batch")]
    specs = infer_specs(stack(2, 8), stack(2, 16), stack(6, 32), rules=rules)
    assert specs["kernel"].roles == AxisRoles((1,), (2,), (0,))
    assert specs["kernel"].kind == "hidden"
    assert specs["kernel"].depth_ratio == 3
    assert specs["bias"].kind == "input"
    with pytest.raises(ValueError, match=r"'bias'.*\(2, 8\) in base and \(6, 32\).*batch=\(0,\)"):
        infer_specs(stack(2, 8), stack(2, 16), stack(6, 32))


def test_named_widths_are_told_apart_axis_by_axis():
    def make(model, feed, heads):
        return {
            "up": leaf(model, feed),
            "query": {"kernel": leaf(model, heads, 4)},
            "both": leaf(3, model + feed),
        }

    base = {"model": 8, "feed": 16, "heads": 2}
    delta = {"model": 9, "feed": 17, "heads": 3}
    specs = infer_specs_from_init(
        make, base=base, delta=delta, target={"model": 32, "feed": 32, "heads": 8}
    )
    assert specs["up"].widths == (("model",), ("feed",))
    assert specs["query"]["kernel"].widths == (("model",), ("heads",), ())
    assert specs["both"].widths == ((), ("feed", "model"))
    assert (specs["up"].fan_in_ratio, specs["up"].fan_out_ratio) == (4, 2)
    assert specs["both"].fan_out_ratio == 64 / 24


def test_rules_speak_first_and_several_add_up():
    def model(n):
        return {"readout": leaf(n), "table": leaf(11, n)}

    rules = [
        Rule("readout", fan_in=(0,)),
        Rule("table", tied=True),
        Rule(".", init="fixed"),
        Rule("table", init="fan_in"),
    ]
    specs = infer_specs(model(4), model(8), model(16), rules=rules)
    assert specs["readout"].kind == "output"
    assert specs["readout"].init_ratio == 1
    assert specs["table"].tied
    assert specs["table"].init_ratio == 1  # the first rule that says so


def test_initial_values_follow_the_named_law():
    def model(n):
        return {"w": leaf(n, 2 * n), "embedding": leaf(5, n), "b": leaf(n)}

    def ratios(*rules):
        specs = infer_specs(model(4), model(8), model(64), rules=rules)
        return [specs[name].init_ratio for name in ("w", "embedding", "b")]

    assert ratios() == [0.25, 0.25, 1]
    assert ratios(Rule("w", init="fan_out"), Rule("embedding", init="fixed")) == [0.25, 1, 1]
    np.testing.assert_allclose(ratios(Rule("w", init="fan_avg"))[0], (12 / 192) ** 0.5)


def test_leaves_that_are_no_weights_are_scalars():
    def model(n):
        return {"w": leaf(3, n), "count": leaf(dtype=jnp.int32), "act": jnp.tanh, "rate": 0.1}

    specs = infer_specs(model(4), model(5), model(8))
    assert specs["count"] == specs["act"] == specs["rate"] == LeafSpec("scalar")


def test_a_model_of_ten_billion_parameters_takes_less_than_a_second():
    def model(n):
        block = {"up": leaf(n, 4 * n), "down": leaf(4 * n, n), "norm": {"scale": leaf(n)}}
        return {"first": leaf(3, n), "blocks": [dict(block) for _ in range(80)]}

    trees = [model(n) for n in (64, 128, 4096)]
    assert sum(np.prod(x.shape, dtype=float) for x in jax.tree.leaves(trees[2])) > 1e10
    begun = time.process_time()
    specs = infer_specs(*trees)
    assert time.process_time() - begun < 1
    assert specs["blocks"][79]["down"].fan_in_ratio == 64


def test_base_shapes_come_back_from_disk(tmp_path):
    path = tmp_path / "base.json"
    save_base_shapes(path, mlp(8), mlp(16))
    base, delta = load_base_shapes(path, mlp(32))
    assert infer_specs(base, delta, mlp(32)) == infer_specs(mlp(8), mlp(16), mlp(32))
    assert jax.tree.leaves(base)[0].dtype == jnp.float32


def test_specs_are_hashable_and_compared_by_value():
    a, b = (infer_specs(mlp(8), mlp(9), mlp(16)) for _ in range(2))
    assert a == b
    assert len(set(jax.tree.leaves(a))) < len(jax.tree.leaves(a))


# Bad input --------------------------------------------------------------------------------------


def bad(match, base, delta, target, error=ValueError, **options):
    with pytest.raises(error, match=match):
        infer_specs(base, delta, target, **options)


def test_messages_name_the_leaf_both_shapes_and_the_remedy():
    from flax import linen

    w = {"w": leaf(3, 4)}
    wide = {"w": leaf(3, 8)}
    bad(r"'v' of shape \(2,\) that base lacks", w, {**wide, "v": leaf(2)}, wide)
    bad(r"base has a leaf 'v'.*that target lacks", {**w, "v": leaf(2)}, {**wide, "v": leaf(2)}, w)
    bad(r"'w' has shape \(3, 4\) in base and \(4,\) in delta: ranks", w, {"w": leaf(4)}, wide)
    bad(r"'w' has shape \(3, 4\) in base and \(6, 8\) in target.*axis 0.*every width", w, wide,
        {"w": leaf(6, 8)})  # fmt: skip
    bad("base and delta have equal shapes.*delta must change", w, w, wide)
    bad(r"delta: 'w' has size zero, shape \(3, 0\)", w, {"w": leaf(3, 0)}, wide)
    bad("target must be a tree with floating-point arrays", w, wide, {"w": 3}, TypeError)
    for module in (linen.Dense(4), linen.Dense, lambda: linen.Dense(4)):
        bad("base must hold parameters.*the module Dense.*eval_shape", module, w, w, TypeError)
    bad("convention must be one of .*'torch'", w, wide, wide, convention="torch")
    bad("rules must be a sequence", w, wide, wide, TypeError, rules=Rule("w"))
    bad("rules must hold", w, wide, wide, TypeError, rules=["w"])


def test_leaves_whose_axes_have_no_role_name_the_rule_that_they_need():
    def model(n):
        return {"mix": leaf(n, n, 4)}

    trees = [model(n) for n in (4, 8, 16)]
    bad(r"'mix' has rank 3, and axes \[0, 1\].*Rule\('mix', fan_in=\(0,\)", *trees)
    for bias in (leaf(4), leaf(7)):  # no windows: an axis in front grows
        beside = [{"kernel": leaf(n, *bias.shape, 2 * n), "bias": bias} for n in (4, 8, 16)]
        bad(r"'kernel' has rank 3, and axes \[0, 2\]", *beside)
    bad("axis 1 of 'mix'.*gives it no role", *trees, rules=[Rule("mix", fan_in=(0,))])
    bad("fan_in of the rule for 'mix' has axis 3, but the leaf has 3", *trees,
        rules=[Rule("mix", fan_in=(3,))])  # fmt: skip
    bad("axis of 'mix' has two roles", *trees, rules=[Rule("mix", fan_in=(0,), fan_out=(-3, 1))])
    two = [Rule("mix", fan_in=(0,), fan_out=(1,)), Rule("mi", batch=(1,))]
    bad("axis 1 is claimed by fan_out and batch", *trees, rules=two)
    bad("'mix' is hidden, not input: a tied", *trees, rules=[Rule("mix", (0,), (1,), tied=True)])


def test_rules_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="axis 0 is claimed by fan_in and fan_out"):
        Rule("w", fan_in=(0,), fan_out=(0,))
    with pytest.raises(ValueError, match="regular expression.*'\\('"):
        Rule("(")
    with pytest.raises(ValueError, match="batch must be a tuple of axes, got 0"):
        Rule("w", batch=0)
    with pytest.raises(ValueError, match="init must be one of"):
        Rule("w", init="xavier")
    with pytest.raises(ValueError, match="depth_ratio must be a positive number or 'batch'"):
        Rule("w", depth_ratio="deep")


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_ratios_are_positive_and_finite(ratio):
    with pytest.raises(ValueError, match="fan_in_ratio must be finite and positive"):
        LeafSpec("hidden", ratio, 1.0)
    with pytest.raises(ValueError, match="kind must be one of"):
        LeafSpec("readout")


def test_a_target_narrower_than_its_base_is_warned_of():
    with pytest.warns(UserWarning, match="'down/bias' has shape \\(4,\\), in base \\(8,\\)"):
        infer_specs(mlp(8), mlp(16), mlp(4))


def test_a_rule_that_matches_nothing_is_warned_of():
    def model(n):
        return {"embedding": leaf(5, n), "bias_proj": leaf(n, n), "token_embed_proj": leaf(n, n)}

    trees = [model(n) for n in (4, 8, 16)]
    with pytest.warns(UserWarning, match="matches the rule 'embeding'; names are bias_proj, emb"):
        specs = infer_specs(*trees, rules=[Rule("embeding", tied=True)])
    assert specs["bias_proj"].kind == specs["token_embed_proj"].kind == "hidden"


def test_widths_by_name_are_checked():
    def make(n):
        return {"w": leaf(3, n)}

    for options, match in (
        ({"delta": {"m": 5}}, "delta has the width 'm', base has \\['n'\\]"),
        ({"target": {"m": 5}}, "target has the width 'm'"),
        ({"delta": {}}, "delta must change at least one width"),
        ({"delta": {"n": 4}}, "delta must change the width 'n', got 4"),
    ):
        widths = {"base": {"n": 4}, "delta": {"n": 5}, "target": {"n": 8}, **options}
        with pytest.raises(ValueError, match=match):
            infer_specs_from_init(make, **widths)
    with pytest.raises(ValueError, match="delta must change any axis \\('idle'\\)"):
        infer_specs_from_init(
            lambda n, idle: make(n),
            base={"n": 4, "idle": 1},
            delta={"n": 5, "idle": 2},
            target={"n": 8},
        )


def test_files_that_hold_no_base_shapes_are_refused(tmp_path):
    path = tmp_path / "base.json"
    for text, match in (
        ("{", "is no JSON"),
        ("[]", "holds no base shapes"),
        ('{"format": "theorylab base shapes", "version": 9}', "version 9, known is 1"),
        ('{"format": "theorylab base shapes", "version": 1}', "leaves must be an object"),
        ('{"format": "theorylab base shapes", "version": 1, "leaves": {"w": [[3, -4], [3]]}}',
         "'w' must have two shapes"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ValueError, match=match):
            load_base_shapes(path, {"w": leaf(3, 4)})
    save_base_shapes(path, {"w": leaf(3, 4)}, {"w": leaf(3, 8)})
    with pytest.raises(ValueError, match="like has a leaf 'v' that the file lacks"):
        load_base_shapes(path, {"w": leaf(3, 4), "v": leaf(2)})
    with pytest.raises(ValueError, match="base and delta have equal shapes"):
        save_base_shapes(path, {"w": leaf(3, 4)}, {"w": leaf(3, 4)})
