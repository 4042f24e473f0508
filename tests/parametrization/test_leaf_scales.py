"""Scales: the tables, the rule behind them, and what is a choice of gauge."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab.layers import Conv, Dense, GlobalAvgPool, LayerNorm, Relu, repeat, serial
from theorylab.parametrization import (
    MFP,
    MUP,
    NTP,
    SP,
    LeafScale,
    LeafSpec,
    apply_multipliers,
    attention_scale,
    layer_specs,
    leaf_scales,
    residual_multiplier,
)

R = 16.0
WIDTH = {
    "input": LeafSpec("input", 1.0, R, init_ratio=1.0),
    "bias": LeafSpec("input", 1.0, R, init_ratio=1.0),
    "hidden": LeafSpec("hidden", R, R, init_ratio=R**-0.5),
    "output": LeafSpec("output", R, 1.0, init_ratio=R**-0.5),
    "scalar": LeafSpec("scalar"),
}
FORMS = ("table3", "table8", "table9", "spectral")
OPTIMIZERS = ("sgd", "adam", "sign", "orthogonal")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_its_own_base_has_scales_of_exactly_1(form, optimizer):
    specs = {kind: LeafSpec(kind, tied=kind == "input") for kind in ("scalar", "input", "hidden")}
    specs["output"] = LeafSpec("output")
    scales = leaf_scales(specs, form=form, optimizer=optimizer, depth_alpha=1)
    for kind, scale in scales.items():
        assert scale == LeafScale(kind=kind)


# Multiplier, factor on an initial value of variance 1 / fan-in (a constant one for inputs), SGD's
# rate and Adam's, from the tables of Tensor Programs V for a ratio R.
TABLES = {
    "table3": {
        "input": (1, 1, R, 1),
        "bias": (1, 1, R, 1),
        "hidden": (1, 1, 1, 1 / R),
        "output": (1, R**-0.5, 1 / R, 1 / R),
    },
    "table8": {
        "input": (1, 1, R, 1),
        "bias": (1, 1, R, 1),
        "hidden": (1, 1, 1, 1 / R),
        "output": (1 / R, R**0.5, R, 1),
    },
    "table9": {
        "input": (R**0.5, R**-0.5, 1, R**-0.5),
        "bias": (R**0.5, R**-0.5, 1, R**-0.5),
        "hidden": (1, 1, 1, 1 / R),
        "output": (R**-0.5, 1, 1, R**-0.5),
    },
}


@pytest.mark.parametrize("form", TABLES)
def test_scales_are_those_of_the_tables(form):
    sgd = leaf_scales(WIDTH, form=form, optimizer="sgd")
    adam = leaf_scales(WIDTH, form=form, optimizer="adam")
    for kind, expected in TABLES[form].items():
        found = (sgd[kind].multiplier, sgd[kind].init_std, sgd[kind].lr, adam[kind].lr)
        assert found == pytest.approx(expected, rel=1e-15)
        assert adam[kind].wd == pytest.approx(1 / adam[kind].lr)
        assert leaf_scales(WIDTH, form=form, optimizer="sign")[kind] == adam[kind]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_forms_are_gauges_of_one_another(optimizer):
    power = 2 if optimizer == "sgd" else 1
    seen = []
    for form in FORMS:
        scales = leaf_scales(WIDTH, form=form, optimizer=optimizer)
        seen.append(
            [
                (s.multiplier * s.init_std, s.multiplier**power * s.lr, s.eps / s.multiplier)
                for s in scales.values()
            ]
        )
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], rtol=1e-14)


def test_spectral_rates_make_updates_of_the_norm_of_the_weights():
    ratios = [(4.0, 2.0), (2.0, 8.0), (3.0, 3.0)]
    for i, o in ratios:
        specs = {"w": LeafSpec("hidden", i, o, init_ratio=i**-0.5)}
        norm = np.sqrt(o / i)  # of W, relative to the base
        # The norm of a gradient is 1 / norm, that of entries of size 1 is sqrt(i o).
        for optimizer, update in (("sgd", 1 / norm), ("adam", np.sqrt(i * o)), ("orthogonal", 1)):
            scale = leaf_scales(specs, form="spectral", optimizer=optimizer)["w"]
            assert scale.lr * update == pytest.approx(norm)
            std = scale.init_std * i**-0.5
            assert std * max(np.sqrt(i), np.sqrt(o)) == pytest.approx(norm)


def test_unequal_ratios_are_warned_of_but_under_the_spectral_form():
    specs = {"w": LeafSpec("hidden", 4.0, 8.0, base_shape=(2, 2), shape=(8, 16))}
    for form in FORMS[:3]:
        with pytest.warns(UserWarning, match=r"'w' grows from \(2, 2\) to \(8, 16\).*spectral"):
            leaf_scales(specs, form=form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leaf_scales(specs, form="spectral")
        leaf_scales(specs, scheme="sp")


def test_mup_of_the_theory_is_table_9_with_sgd():
    theory = leaf_scales(WIDTH, scheme=MUP)
    table = leaf_scales(WIDTH, form="table9", optimizer="sgd")
    for kind in WIDTH:
        a, b = theory[kind], table[kind]
        assert (a.multiplier, a.init_std, a.lr) == pytest.approx((b.multiplier, b.init_std, b.lr))


def test_standard_parametrization_changes_nothing_by_name_or_by_exponents():
    for scheme in ("sp", SP):
        for kind, scale in leaf_scales(WIDTH, scheme=scheme).items():
            assert scale == LeafScale(kind=WIDTH[kind].kind)
    with pytest.raises(ValueError, match="'hidden' is hidden; a of the ABC has 2 exponents"):
        leaf_scales(WIDTH, scheme=MFP)


def test_labels_give_each_leaf_its_optimizer():
    labels = {kind: "adam" for kind in WIDTH} | {"hidden": "orthogonal"}
    scales = leaf_scales(WIDTH, optimizer=labels, form="spectral")
    assert scales["hidden"].lr == 1
    assert scales["output"].lr == 1 / R
    del labels["bias"]
    with pytest.raises(ValueError, match="optimizer must be one of.*None for 'bias'"):
        leaf_scales(WIDTH, optimizer=labels)


@pytest.mark.parametrize(("alpha", "sgd", "adam"), [(0, 1, 1), (0.5, 1, 0.5), (1, 4, 1)])
def test_depth_scales_rates_so_that_branches_add_up(alpha, sgd, adam):
    spec = {"w": LeafSpec("scalar", depth_ratio=4.0, branch_output=True)}
    one = leaf_scales(spec, optimizer="sgd", depth_alpha=alpha)["w"]
    assert (one.lr, one.multiplier) == (sgd, residual_multiplier(4.0, alpha))
    two = leaf_scales(spec, optimizer="adam", depth_alpha=alpha)["w"]
    assert (two.lr, two.eps) == (adam, 4.0**-alpha)
    plain = {"w": LeafSpec("scalar", depth_ratio=4.0)}
    assert leaf_scales(plain, depth_alpha=alpha)["w"].multiplier == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("alpha", [0.5, 1])
def test_a_step_moves_a_deep_linear_residual_network_as_it_moves_its_base(alpha, optimizer):
    """One hidden coordinate, N branches x + N^-alpha w_k x with w = 0, loss f: by hand."""
    moved = []
    for n in (1, 4, 64):
        spec = {"w": LeafSpec("scalar", depth_ratio=float(n))}
        rate = leaf_scales(spec, optimizer=optimizer, depth_alpha=alpha)["w"].lr
        branch = residual_multiplier(n, alpha)
        gradient = branch  # of each w_k, at x = 1
        step = rate * (gradient if optimizer == "sgd" else 1.0)
        moved.append(n * branch * step)  # to first order
    np.testing.assert_allclose(moved, moved[0])


def test_gradients_have_the_size_that_the_epsilon_rule_says():
    key = jax.random.key(0)

    def sizes(n):
        """Root mean squares of gradients in a network of width n, weights by Table 3."""
        k = jax.random.split(key, 4)
        w = {
            "input": jax.random.normal(k[0], (3, n)),
            "hidden": jax.random.normal(k[1], (n, n)) * n**-0.5,
            "output": jax.random.normal(k[2], (n, 1)) / n,
        }
        x = jax.random.normal(k[3], (8, 3))

        def loss(w):
            h = jnp.tanh(jnp.tanh(x @ w["input"]) @ w["hidden"]) @ w["output"]
            return jnp.mean((h - 1) ** 2)

        return {name: float(jnp.sqrt(jnp.mean(g**2))) for name, g in jax.grad(loss)(w).items()}

    small, large = sizes(128), sizes(1024)
    for name, kind in (("input", "input"), ("hidden", "hidden"), ("output", "output")):
        ratio = 8.0
        spec = LeafSpec(kind, 1 if kind == "input" else ratio, 1 if kind == "output" else ratio)
        expected = leaf_scales({"w": spec}, form="table3")["w"].eps
        assert large[name] / small[name] == pytest.approx(expected, rel=0.25)


def test_queries_are_multiplied_so_that_attention_is_divided_by_the_length_of_a_head():
    spec = LeafSpec("hidden", 4.0, 4.0, head_ratio=4.0)
    on = leaf_scales({"w": spec})["w"]
    off = leaf_scales({"w": spec}, attention=False)["w"]
    assert (on.multiplier, off.multiplier) == (0.5, 1.0)
    assert on.lr == off.lr
    # flax divides by the root of 64; the base has heads of 16
    assert on.multiplier / 64**0.5 == attention_scale(64, 16)


def test_a_tied_read_out_has_a_multiplier_of_its_own_in_every_form():
    spec = LeafSpec("input", 1.0, 4.0, tied=True)
    for form in FORMS:
        assert leaf_scales({"w": spec}, form=form)["w"].readout == 0.25
    assert leaf_scales({"w": LeafSpec("input", 1.0, 4.0)})["w"].readout == 1


def test_a_narrower_target_has_the_tables_deviations():
    """Input weights have those of the base, read-outs 1 / fan-in."""
    narrow = {
        "in": LeafSpec("input", 1.0, 0.25),
        "out": LeafSpec("output", 0.25, 1.0, init_ratio=2.0),
        "hidden": LeafSpec("hidden", 0.25, 0.25, init_ratio=2.0),
    }
    for form in ("table3", "spectral"):
        scales = leaf_scales(narrow, form=form)
        assert [scales[k].init_std for k in narrow] == [1.0, 2.0, 1.0]


def test_tied_read_outs_have_no_abc():
    with pytest.raises(ValueError, match="'w' is a tied read-out"):
        leaf_scales({"w": LeafSpec("input", 1.0, 4.0, tied=True)}, scheme=MUP)


# Our layers -------------------------------------------------------------------------------------


def net(n, kind="ntk", s=1):
    def dense(m, fan_in, fan_out, **options):
        return Dense(m, parameterization=kind, s=(fan_in, fan_out), **options)

    first = serial(dense(n, 1, s, b_std=0.1), Relu())
    return serial(first, dense(n, s, s), LayerNorm(), Relu(), dense(1, s, 1))


def test_our_layers_in_the_ntk_parameterization_are_ntp_already():
    specs = layer_specs(net(8), net(16), net(64), (5, 3))
    for scale in jax.tree.leaves(leaf_scales(specs, scheme=NTP)):
        assert (scale.multiplier, scale.init_std, scale.lr) == (1, 1, 1)


@pytest.mark.parametrize("form", ["table3", "table8", "table9"])
def test_both_parameterizations_of_our_layers_give_the_same_network(form):
    """The two draw other numbers from one key, but for known factors."""
    effective, rates = [], []
    for kind in ("ntk", "standard"):
        specs = layer_specs(net(8, kind), net(16, kind), net(64, kind), (5, 3))
        scales = leaf_scales(specs, form=form, optimizer="sgd")
        both = [(scales[i]["W"], specs[i]["W"]) for i in (1, 4)]
        effective.append([s.multiplier * s.init_std * p.own_multiplier * p.init_ratio
                          for s, p in both])  # fmt: skip
        rates.append([s.lr * (s.multiplier * p.own_multiplier) ** 2 for s, p in both])
    np.testing.assert_allclose(effective[0], effective[1], rtol=1e-14)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-14)


def test_width_multipliers_of_the_standard_parameterization_are_widths():
    specs = layer_specs(net(8, "standard"), net(16, "standard"), net(8, "standard", 4), (5, 3))
    plain = layer_specs(net(8, "standard"), net(16, "standard"), net(32, "standard"), (5, 3))
    a, b = specs[1]["W"], plain[1]["W"]
    assert (a.fan_in_ratio, a.shape) == (b.fan_in_ratio, b.shape) == (4, (32, 32))
    assert a.own_multiplier == 0.5
    assert a.own_multiplier * a.init_ratio == b.own_multiplier * b.init_ratio == 0.5


def test_convolutions_and_copies_of_our_layers_know_their_axes():
    numbers = ("NCHW", "OIHW", "NCHW")

    def cnn(n):
        conv = Conv(n, (3, 3), padding="SAME", dimension_numbers=numbers)
        return serial(conv, Relu(), repeat(serial(conv, Relu()), 3), GlobalAvgPool(channel_axis=1))

    specs = layer_specs(cnn(4), cnn(8), cnn(16), (2, 3, 8, 8))
    assert specs[0]["W"].roles.fan_out == (0,)
    assert (specs[0]["W"].kind, specs[0]["W"].fan_out_ratio) == ("input", 4)
    stacked = specs[2][1][0]["W"]
    assert stacked.shape == (2, 16, 16, 3, 3)
    assert (stacked.roles.batch, stacked.roles.fan_out) == ((0,), (1,))
    assert stacked.kind == "hidden"


def test_effective_weights_of_our_layers_keep_features_of_order_one():
    """Features in Table 9 have the same size at two widths; outputs shrink as muP's do."""
    x = jax.random.normal(jax.random.key(1), (4, 3))
    sizes = []
    for n in (256, 4096):
        wide = serial(Dense(n), Relu(), Dense(1))
        small, other = (serial(Dense(m), Relu(), Dense(1)) for m in (64, 65))
        scales = leaf_scales(layer_specs(small, other, wide, x.shape), optimizer="sgd")
        outputs = jax.vmap(
            lambda key, wide=wide, scales=scales: wide.apply(
                apply_multipliers(wide.init(key, x.shape), scales), x
            )
        )(jax.random.split(jax.random.key(0), 200))
        sizes.append(float(jnp.std(outputs)))
    assert sizes[0] / sizes[1] == pytest.approx(4.0, rel=0.2)


# Bad input --------------------------------------------------------------------------------------


def test_unknown_options_are_named():
    for options, error, match in (
        ({"scheme": "ntp"}, ValueError, "scheme must be 'mup', 'sp' or an ABC, got 'ntp'"),
        ({"scheme": 1}, TypeError, "scheme must be 'mup', 'sp' or an ABC, got 1"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of .*'lion'"),
        ({"form": "table5"}, ValueError, "form must be one of .*'table5'"),
        ({"depth_alpha": 0.3}, ValueError, "depth_alpha must be 0, 0.5 or 1, got 0.3"),
    ):
        with pytest.raises(error, match=match):
            leaf_scales(WIDTH, **options)
    with pytest.raises(TypeError, match="specs must hold a LeafSpec at 'w', got 3"):
        leaf_scales({"w": 3})


def test_numbers_for_models_are_checked():
    with pytest.raises(ValueError, match="head must be at least 1, got 0"):
        attention_scale(0, 4)
    with pytest.raises(ValueError, match="depth_ratio must be finite and positive"):
        residual_multiplier(-1, 0.5)
    with pytest.raises(ValueError, match="depth_alpha must be 0, 0.5 or 1, got 2"):
        residual_multiplier(2, 2)


def test_layers_that_do_not_match_are_named():
    with pytest.raises(TypeError, match="delta must be a layer"):
        layer_specs(net(8), {}, net(16), (5, 3))
    with pytest.raises(ValueError, match="'0/0/W' has parameterization 'ntk' in base"):
        layer_specs(net(8), net(9), net(16, "standard"), (5, 3))
