"""What SOAP says that it costs, against the state that it makes and the products that it does."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optim.jaxprs import inner_jaxprs
from theorylab import optim

PARAMS = {
    "embedding": jax.ShapeDtypeStruct((40, 6), jnp.float32),
    "half": jax.ShapeDtypeStruct((6, 6), jnp.bfloat16),
    "kernel": jax.ShapeDtypeStruct((3, 3, 2, 6), jnp.float32),
    "none": jax.ShapeDtypeStruct((0, 6), jnp.float32),
    "scalar": jax.ShapeDtypeStruct((), jnp.float32),
    "vector": jax.ShapeDtypeStruct((6,), jnp.float32),
}
OPTIONS = [
    {},
    {"max_precond_dim": 12, "merge_dims": True},
    {"max_precond_dim": 12, "merge_dims": True, "data_format": "channels_last"},
    {"precondition_1d": True, "max_precond_dim": 6},
    {"one_sided": "auto", "mu_dtype": jnp.bfloat16},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_state_has_the_bytes_that_were_foretold(options):
    state = jax.eval_shape(optim.scale_by_soap(**options).init, PARAMS)
    memory = optim.soap_memory(PARAMS, **options)

    def held(tree):
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))

    assert memory.total == held(state)
    for field in ("mu", "nu", "factors", "bases"):
        assert getattr(memory, field) == held(getattr(state, field))


def test_in_double_precision_the_foretold_bytes_are_twice_as_many(x64):
    w = jnp.zeros((4, 3))
    memory = optim.soap_memory(w)
    assert memory == (96, 96, 8 * (16 + 9), 8 * (16 + 9), 192 + 400 + 4)
    made = optim.scale_by_soap().init(w)
    assert memory.total == sum(x.nbytes for x in jax.tree.leaves(made))
    assert optim.soap_memory(w, precond_dtype=jnp.float32).nu == 48


def operations(jaxpr):
    """Operations of all products of matrices of a traced function; a loop counts every turn."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += turns * sum(operations(inner) for inner in inner_jaxprs(equation))
    return total


@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_does_the_products_that_were_foretold(options):
    blocks = optim.soap_blocks(1.0, weight_decay=0.0, **options)
    flops = optim.soap_flops(PARAMS, **options)
    state = jax.eval_shape(blocks.init, PARAMS)
    step = jax.make_jaxpr(lambda g, s: blocks.plain(g, s, None))(PARAMS, state)
    assert operations(step.jaxpr) == flops.step > 0
    # QR is LAPACK's and no product: 8/3 d^3 a factor, of which only the rest can be counted here.
    refresh = jax.make_jaxpr(blocks.refresh)(state)
    cubes = sum(f.shape[0] * f.shape[1] ** 3 for f in state[0].factors)
    assert operations(refresh.jaxpr) == flops.refresh - int(8 / 3 * cubes)
    assert flops.average == flops.step + flops.refresh / 10


@pytest.mark.parametrize(
    ("shape", "options", "sizes"),
    [
        ((8, 5), {"one_sided": "auto"}, [None, 5]),
        ((5, 8), {"one_sided": "auto"}, [5, None]),
        ((5, 5), {"one_sided": "auto"}, [5, 5]),
        ((8, 5), {"max_precond_dim": 5}, [None, 5]),
        ((2, 3, 6), {"merge_dims": True, "max_precond_dim": 6}, [6, 6]),
        ((2, 3, 6), {"merge_dims": True, "max_precond_dim": 5}, [2, 3, None]),
        ((7, 2, 2), {"merge_dims": True, "max_precond_dim": 5}, [None, 4]),
        ((2, 3, 4, 5), {"merge_dims": True, "max_precond_dim": 12}, [6, 4, 5]),
        ((1, 1), {"merge_dims": True}, [1]),
        ((5,), {"precondition_1d": True}, [5]),
        ((5,), {"precondition_1d": True, "max_precond_dim": 4}, [None]),
        ((), {}, []),
        ((0, 3), {"merge_dims": True}, [None]),
    ],
)
def test_axes_that_have_factors(shape, options, sizes):
    params = jnp.zeros(shape)
    state = jax.eval_shape(optim.scale_by_soap(**options).init, params)
    state = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), state)
    (leaf,) = optim.soap_bases(state, **options)
    assert [None if basis is None else len(basis) for basis in leaf] == sizes


def test_bases_go_where_they_are_said_to_lie():
    params = {"a": jnp.zeros((3, 2)), "b": jnp.zeros((2, 3)), "c": jnp.zeros(3)}
    tx = optim.soap(1e-3)
    rng = np.random.default_rng(0)
    wanted = [[rng.normal(size=(d, d)).astype("f4") for d in s] for s in ((3, 2), (2, 3))]
    state = optim.soap_with_bases(tx.init(params), [*wanted, [None]])
    assert [basis.shape for basis in state[0].bases] == [(2, 3, 3), (2, 2, 2)]
    for leaf, other in zip(wanted, optim.soap_bases(state), strict=False):
        for one, two in zip(leaf, other, strict=True):
            np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match=r"bases\[0\]\[1\] must have the shape \(2, 2\), got \(3,"):
        optim.soap_with_bases(state, [[wanted[0][0]] * 2, *wanted[1:], [None]])
    with pytest.raises(ValueError, match=r"\[2, 2, 1\] axes, leaf by leaf, got \[2, 2\]"):
        optim.soap_with_bases(state, wanted)
    with pytest.raises(ValueError, match="must come from an init with the same options"):
        optim.soap_bases(state, one_sided="auto")
    with pytest.raises(ValueError, match=r"one state of optim.scale_by_soap, got 0"):
        optim.soap_bases(())
