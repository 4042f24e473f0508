"""SOAP against its authors' own numbers, and against our transcription of it in NumPy.

Leaves do not know of one another, so that one compiled program serves many cases: its tree has a
place for each shape, and what is not looked at is fed zeros.
"""

import numpy as np
import pytest

from tests.optim.soap_runs import run
from tests.oracles import soap_cases, soap_reference

# The static options of the stored cases: programs to compile.
DEFAULT = ("square6", "square6_freq1", "mlp_fixedgrads", "tensor4x4x4", "rect6x4_nullspace")
GROUPS = {
    "default": DEFAULT,
    "no bias correction": ("square6_nobias",),
    "one side": ("onesided8x5",),
    "vectors": ("vector5_precondition1d",),
}
ALL = (*soap_cases.STRICT, *soap_cases.ARBITRARY)


def places(name, cases):
    """A place for each shape of a group: a tensor of it, and the bases to inject or None."""
    found = {}
    for case in (case for case in GROUPS[name] if case in cases):
        for t in soap_cases.load(case)[1].values():
            injected = case in soap_cases.ARBITRARY
            found[str(t.init.shape)] = t, t.bases if injected else [None] * len(t.bases)
    return dict(sorted(found.items()))


def alone(name, cases, tensor, dtype, options):
    """Our run of a tensor at its place, zeros elsewhere; one program for all of a group."""
    tree = places(name, cases)
    calls = max(len(t.grads) for t, _ in tree.values())
    init = {place: np.zeros_like(t.init) for place, (t, _) in tree.items()}
    grads = {place: np.zeros((calls, *t.init.shape)) for place, (t, _) in tree.items()}
    own = str(tensor.init.shape)
    init[own] = tensor.init
    grads[own][: len(tensor.grads)] = tensor.grads
    found = run(init, grads, [bases for _, bases in tree.values()], dtype, **options)
    last = len(tensor.grads) - 1
    bases = found.bases[list(tree).index(own)]
    return found.params[own][: last + 2], found.mu[own][last], found.nu[own][last], bases


def members(name, cases):
    """The options and the tensors of a group."""
    for case in GROUPS[name]:
        options, tensors = soap_cases.load(case)
        yield from ((options, t) for t in tensors.values() if case in cases)


@pytest.mark.parametrize("name", GROUPS)
def test_float64_meets_the_reference_to_twelve_digits_at_every_call(x64, name):
    for options, t in members(name, ALL):
        path, mu, nu, _ = alone(name, ALL, t, np.float64, options)
        assert path.dtype == np.float64
        assert np.abs(path - t.float64).max() <= 1e-12
        assert np.array_equal(path[0], path[1])  # call 1 moves nothing, decay included
        # The signs of columns are LAPACK's.
        assert np.abs(nu - t.v).max() <= 1e-11
        assert np.abs(np.abs(mu) - np.abs(t.m)).max() <= 1e-11


@pytest.mark.parametrize("name", ["default", "no bias correction", "one side"])
def test_float32_meets_the_reference_within_five_millionths_at_every_call(name):
    for options, t in members(name, soap_cases.STRICT):
        path = alone(name, soap_cases.STRICT, t, np.float32, options)[0]
        assert path.dtype == np.float32
        assert np.abs(path - t.float32).max() <= 5e-6
        assert np.abs(path - t.float64).max() <= 5e-6


def test_the_first_bases_are_eigenvectors_of_the_first_factors_largest_first(x64):
    for options, t in members("default", soap_cases.STRICT):
        ours = alone("default", ALL, t, np.float64, options)[3]
        for stacked, theirs in zip(ours, t.bases, strict=True):
            if theirs is not None:
                overlap = np.abs(stacked[0].T @ theirs)
                assert np.abs(overlap - np.eye(len(overlap))).max() <= 1e-9


def test_a_gradient_that_repeats_itself_is_met_as_far_as_round_off_lets_it(x64):
    # The gradients of the closed loop along the reference's own path: the second is the first.
    options, tensors = soap_cases.load(soap_cases.CLOSED)
    (t,), gradient = tensors.values(), soap_cases.loop()
    t = t._replace(grads=np.stack([gradient(x) for x in t.float64[:31]]))
    path = alone("default", ALL, t, np.float64, options)[0]
    assert np.abs(path - t.float64[:32]).max() <= 1e-7  # see test_soap_reference.py


# Other options: what is compiled, the shapes, and numbers that it is run with -------------------


def falling(call):
    """A schedule; call counted from 0."""
    return 3e-3 / (1.0 + 0.2 * call)


EVERY_CALL = {"precondition_frequency": 1, "b1": 0.9, "b2": 0.97, "shampoo_beta": 0.8}
SOMETIMES = {"precondition_frequency": 3, "b1": 0.95, "b2": 0.9, "shampoo_beta": 0.95}
# Factors of vectors, and of tensors merged into one axis, need d gradients to be full.
SELDOM = {"precondition_frequency": 7, "b1": 0.5, "b2": 0.99, "shampoo_beta": 0.9}
NUMBERS = {
    "every call": EVERY_CALL | {"eps": 1e-3, "weight_decay": 0.3},
    "sometimes": SOMETIMES | {"eps": 1e-8, "weight_decay": 0.01},
    "seldom": SELDOM | {"eps": 1e-2, "weight_decay": 0.1},
}
VARIANTS = {
    "schedule": ({"learning_rate": falling}, [(4, 4), ()], ("every call", "sometimes")),
    "schedule, normalised, decay by optax": (
        {"learning_rate": falling, "normalize_grads": True, "decay_order": "optax"},
        [(3, 3), (3,)],
        ("every call", "sometimes"),
    ),
    "vectors, one side, no bias correction": (
        {"precondition_1d": True, "max_precond_dim": 4, "correct_bias": False},
        [(4,), (6,), (6, 4)],
        ("seldom",),
    ),
    "merged, normalised": (
        {"merge_dims": True, "max_precond_dim": 6, "normalize_grads": True},
        [(7, 2, 1, 3), (2, 3)],  # as (7, 6), its first axis without a factor, and (6,)
        ("seldom",),
    ),
    "merged, channels last, no bias correction, decay by optax": (
        {
            "merge_dims": True,
            "data_format": "channels_last",
            "max_precond_dim": 4,
            "correct_bias": False,
            "decay_order": "optax",
        },
        [(2, 2, 2, 2)],  # as (4, 4), with the axes in another order than channels first
        ("every call", "sometimes"),
    ),
}
CALLS = 16


@pytest.mark.parametrize("name", VARIANTS)
def test_other_options_meet_the_transcription_to_twelve_digits(x64, name):
    static, shapes, numbers = VARIANTS[name]
    random = np.random.default_rng(len(name))
    init = {str(shape): random.normal(size=shape) for shape in shapes}
    grads = {str(shape): random.normal(size=(CALLS, *shape)) for shape in shapes}
    for setting in numbers:
        options = {"learning_rate": 3e-3, **static, **NUMBERS[setting]}

        def walk(place, calls, bases=None, o=options):
            return soap_reference.run(init[place], grads[place], calls, bases, **o)

        given = {}
        for place in sorted(init):
            s = walk(place, 1)[1]
            pairs = zip(s.factors, s.bases, strict=True)
            singular = [f is not None and np.linalg.matrix_rank(f) < len(f) for f, _ in pairs]
            given[place] = s.bases if any(singular) else [None] * len(s.bases)
        found = run(init, grads, list(given.values()), **options)
        for place in init:
            bases = given[place] if any(q is not None for q in given[place]) else None
            path, end = walk(place, CALLS, bases)
            assert np.abs(found.params[place] - path).max() <= 1e-12, (place, setting)
            assert np.abs(found.nu[place][-1] - end.v).max() <= 1e-11, (place, setting)
