"""Real models, leaf by leaf: what each leaf is, and by how much its fans have grown."""

import dataclasses
import time

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests.parametrization.models import CASES, named_specs, specs_of
from theorylab.parametrization import AxisRoles, LeafScale, infer_specs, leaf_scales

INPUT, HIDDEN, OUTPUT, SCALAR = "input", "hidden", "output", "scalar"
# Kind, axes of fan-in, of fan-out, and of a batch. All widths of the models grow fourfold.
EXPECTED = {
    "linen MLP": {
        "params/Dense_0/bias": (INPUT, (), (0,)),
        "params/Dense_0/kernel": (INPUT, (0,), (1,)),
        "params/Dense_1/bias": (INPUT, (), (0,)),
        "params/Dense_1/kernel": (HIDDEN, (0,), (1,)),
        "params/Dense_2/bias": (SCALAR, (), (0,)),
        "params/Dense_2/kernel": (OUTPUT, (0,), (1,)),
        "params/LayerNorm_0/bias": (INPUT, (), (0,)),
        "params/LayerNorm_0/scale": (INPUT, (), (0,)),
    },
    "linen CNN": {
        "params/ConvTranspose_0/bias": (INPUT, (), (0,)),
        "params/ConvTranspose_0/kernel": (HIDDEN, (0, 1, 2), (3,)),
        "params/Conv_0/bias": (INPUT, (), (0,)),
        "params/Conv_0/kernel": (INPUT, (0, 1, 2), (3,)),
        "params/Conv_1/bias": (INPUT, (), (0,)),
        "params/Conv_1/kernel": (HIDDEN, (0, 1, 2), (3,)),
        "params/Dense_0/bias": (SCALAR, (), (0,)),
        "params/Dense_0/kernel": (OUTPUT, (0,), (1,)),
    },
    "linen block": {
        "params/attention/key/bias": (INPUT, (), (0, 1)),
        "params/attention/key/kernel": (HIDDEN, (0,), (1, 2)),
        "params/attention/out/bias": (INPUT, (), (0,)),
        "params/attention/out/kernel": (HIDDEN, (0, 1), (2,)),
        "params/attention/query/bias": (INPUT, (), (0, 1)),
        "params/attention/query/kernel": (HIDDEN, (0,), (1, 2)),
        "params/attention/value/bias": (INPUT, (), (0, 1)),
        "params/attention/value/kernel": (HIDDEN, (0,), (1, 2)),
        "params/down/bias": (INPUT, (), (0,)),
        "params/down/kernel": (HIDDEN, (0,), (1,)),
        "params/embed/embedding": (INPUT, (0,), (1,)),
        "params/norm/bias": (INPUT, (), (0,)),
        "params/norm/scale": (INPUT, (), (0,)),
        "params/position": (INPUT, (0, 1), (2,)),
        "params/up/bias": (INPUT, (), (0,)),
        "params/up/kernel": (HIDDEN, (0,), (1,)),
    },
    "linen stack": {
        "params/first/bias": (INPUT, (), (0,)),
        "params/first/kernel": (INPUT, (0,), (1,)),
        "params/last/bias": (SCALAR, (), (0,)),
        "params/last/kernel": (OUTPUT, (0,), (1,)),
        "params/layers/attention/key/bias": (INPUT, (), (1, 2), (0,)),
        "params/layers/attention/key/kernel": (HIDDEN, (1,), (2, 3), (0,)),
        "params/layers/attention/out/bias": (INPUT, (), (1,), (0,)),
        "params/layers/attention/out/kernel": (HIDDEN, (1, 2), (3,), (0,)),
        "params/layers/attention/query/bias": (INPUT, (), (1, 2), (0,)),
        "params/layers/attention/query/kernel": (HIDDEN, (1,), (2, 3), (0,)),
        "params/layers/attention/value/bias": (INPUT, (), (1, 2), (0,)),
        "params/layers/attention/value/kernel": (HIDDEN, (1,), (2, 3), (0,)),
        "params/layers/map/bias": (INPUT, (), (1,), (0,)),
        "params/layers/map/kernel": (HIDDEN, (1,), (2,), (0,)),
        "params/layers/norm/bias": (INPUT, (), (1,), (0,)),
        "params/layers/norm/scale": (INPUT, (), (1,), (0,)),
    },
    "nnx MLP": {
        "last/bias": (SCALAR, (), (0,)),
        "last/kernel": (OUTPUT, (0,), (1,)),
        "layers/0/bias": (INPUT, (), (0,)),
        "layers/0/kernel": (INPUT, (0,), (1,)),
        "layers/1/bias": (INPUT, (), (0,)),
        "layers/1/kernel": (HIDDEN, (0,), (1,)),
    },
    "nnx CNN": {
        "first/bias": (INPUT, (), (0,)),
        "first/kernel": (INPUT, (0, 1, 2), (3,)),
        "last/bias": (SCALAR, (), (0,)),
        "last/kernel": (OUTPUT, (0,), (1,)),
        "norm/bias": (INPUT, (), (0,)),
        "norm/scale": (INPUT, (), (0,)),
        "second/bias": (INPUT, (), (0,)),
        "second/kernel": (HIDDEN, (0, 1, 2), (3,)),
    },
    "nnx block": {
        "attention/key/bias": (INPUT, (), (0, 1)),
        "attention/key/kernel": (HIDDEN, (0,), (1, 2)),
        "attention/out/bias": (INPUT, (), (0,)),
        "attention/out/kernel": (HIDDEN, (0, 1), (2,)),
        "attention/query/bias": (INPUT, (), (0, 1)),
        "attention/query/kernel": (HIDDEN, (0,), (1, 2)),
        "attention/value/bias": (INPUT, (), (0, 1)),
        "attention/value/kernel": (HIDDEN, (0,), (1, 2)),
        "embed/embedding": (INPUT, (0,), (1,)),
        "last/kernel": (OUTPUT, (0,), (1,)),
        "norm/scale": (INPUT, (), (0,)),
    },
    "equinox block": {
        "embed/weight": (INPUT, (0,), (1,)),
        "attention/query_proj/weight": (HIDDEN, (1,), (0,)),
        "attention/query_proj/bias": (INPUT, (), (0,)),
        "attention/key_proj/weight": (HIDDEN, (1,), (0,)),
        "attention/value_proj/weight": (HIDDEN, (1,), (0,)),
        "attention/output_proj/weight": (HIDDEN, (1,), (0,)),
        "attention/dropout/p": (SCALAR, (), ()),
        "attention/dropout/inference": (SCALAR, (), ()),
        "norm/weight": (INPUT, (), (0,)),
        "norm/bias": (INPUT, (), (0,)),
        "mlp/layers/0/weight": (HIDDEN, (1,), (0,)),
        "mlp/layers/0/bias": (INPUT, (), (0,)),
        "mlp/layers/1/weight": (HIDDEN, (1,), (0,)),
        "mlp/layers/1/bias": (INPUT, (), (0,)),
        "mlp/layers/2/weight": (OUTPUT, (1,), (0,)),
        "mlp/layers/2/bias": (SCALAR, (), (0,)),
        "mlp/activation": (SCALAR, (), ()),
        "mlp/final_activation": (SCALAR, (), ()),
    },
    "equinox CNN": {
        "layers/0/weight": (INPUT, (1, 2, 3), (0,)),
        "layers/0/bias": (INPUT, (), (0, 1, 2)),
        "layers/1": (SCALAR, (), ()),
        "layers/2/weight": (HIDDEN, (1, 2, 3), (0,)),
        "layers/2/bias": (INPUT, (), (0, 1, 2)),
        "layers/3": (SCALAR, (), ()),
        "last/weight": (OUTPUT, (1,), (0,)),
        "last/bias": (SCALAR, (), (0,)),
    },
}
HEADS = {  # queries, whose heads are four times as long
    "linen block": ("params/attention/query/kernel", "params/attention/query/bias"),
    "linen stack": ("params/layers/attention/query/kernel", "params/layers/attention/query/bias"),
    "nnx block": ("attention/query/kernel", "attention/query/bias"),
    "equinox block": ("attention/query_proj/weight", "attention/query_proj/bias"),
}
FORMS = ("table3", "table8", "table9", "spectral")


@pytest.mark.parametrize("name", CASES)
def test_leaves_are_what_the_theory_says_of_them(name):
    specs = named_specs(specs_of(CASES[name], 8, 32))
    found = {}
    for leaf, spec in specs.items():
        batch = (spec.roles.batch,) if spec.roles.batch else ()
        found[leaf] = (spec.kind, spec.roles.fan_in, spec.roles.fan_out, *batch)
        wide = (spec.fan_in_ratio, spec.fan_out_ratio)
        assert wide == {INPUT: (1, 4), HIDDEN: (4, 4), OUTPUT: (4, 1), SCALAR: (1, 1)}[spec.kind]
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", CASES)
def test_only_queries_know_how_long_heads_are(name):
    specs = named_specs(specs_of(CASES[name], 8, 32))
    longer = {leaf for leaf, spec in specs.items() if spec.head_ratio != 1}
    assert longer == set(HEADS.get(name, ()))
    assert all(specs[leaf].head_ratio == 4 for leaf in longer)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sign", "orthogonal"])
def test_a_model_that_is_its_own_base_has_scales_of_exactly_1(name, optimizer):
    specs = specs_of(CASES[name], 8, 8)
    for form in FORMS:
        for scale in jax.tree.leaves(leaf_scales(specs, optimizer=optimizer, form=form)):
            assert scale == LeafScale(kind=scale.kind, shape=scale.shape)


def test_arrays_and_shapes_of_a_stack_of_another_depth_give_one_answer():
    """Only the batch axis differs, and what is said of layers is said without it."""
    case = CASES["linen stack"]
    deeper = jax.tree_util.tree_map_with_path(
        lambda path, s: (
            jax.ShapeDtypeStruct((6, *s.shape[1:]), s.dtype)
            if "layers" in jax.tree_util.keystr(path)
            else s
        ),
        case.shapes(32),
    )
    specs = infer_specs(case.shapes(8), case.shapes(12), deeper, **case.options)
    one_depth = named_specs(specs_of(case, 8, 32))
    for name, spec in named_specs(specs).items():
        assert spec.depth_ratio == (2 if "layers" in name else 1)
        assert dataclasses.replace(spec, depth_ratio=1.0, shape=()) == (
            dataclasses.replace(one_depth[name], shape=())
        )


class Wide(nn.Module):
    """40 maps of 16384 to 16384."""

    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(40):
            x = nn.Dense(self.width)(x)
        return x


def test_ten_billion_parameters_of_flax_take_less_than_a_second_and_no_memory():
    x = jax.ShapeDtypeStruct((1, 16), np.float32)
    trees = [jax.eval_shape(Wide(n).init, jax.random.key(0), x) for n in (64, 128, 16384)]
    assert sum(np.prod(leaf.shape, dtype=float) for leaf in jax.tree.leaves(trees[2])) > 1e10
    arrays = len(jax.live_arrays())
    begun = time.process_time()
    specs = infer_specs(*trees)
    scales = leaf_scales(specs)
    assert time.process_time() - begun < 1
    assert len(jax.live_arrays()) == arrays
    assert scales["params"]["Dense_39"]["kernel"].lr == 1 / 256
    assert specs["params"]["Dense_0"]["kernel"].roles == AxisRoles((0,), (1,))
