"""What every function of the posterior family must do: one list, many tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict
from theorylab.predict import Status
from theorylab.predict import _evidence as evidence_module
from theorylab.predict import _leave_one_out as leave_one_out_module
from theorylab.predict import _posterior as posterior_module
from theorylab.predict import _scale_mixture as scale_mixture_module
from theorylab.predict import _student_t as student_t_module

N, M = 6, 3
SAMPLES = np.exp(np.random.default_rng(0).normal(size=500))


def student_t(k, ks, kss, y, noise):
    return predict.student_t_posterior(k, ks, kss, y, a=noise + 2, b=2 * noise + 1, noise=noise)


def scale_mixture(k, ks, kss, y, noise):
    return predict.scale_mixture_posterior(
        k, ks, kss, y, prior=lambda _, n: SAMPLES, key=KEY, n_samples=500, noise=noise
    )


# Each takes (k_train, k_test_train, k_test_test, y, noise); beside it what is compiled.
MEMBERS = {
    "posterior": (
        lambda k, ks, kss, y, noise: predict.posterior(k, ks, kss, y, noise=noise),
        posterior_module._posterior,
    ),
    "student_t_posterior": (student_t, student_t_module._student_t),
    "scale_mixture_posterior": (scale_mixture, scale_mixture_module._mixture),
    "log_marginal_likelihood": (
        lambda k, ks, kss, y, noise: predict.log_marginal_likelihood(k, y, noise=noise),
        evidence_module._evidence,
    ),
    "leave_one_out": (
        lambda k, ks, kss, y, noise: predict.leave_one_out(k, y, ridge=noise),
        leave_one_out_module._residuals,
    ),
    "leave_one_out_posterior": (
        lambda k, ks, kss, y, noise: predict.leave_one_out_posterior(k, y, noise=noise),
        leave_one_out_module._leave_one_out,
    ),
}
KEY = jax.random.key(0)
family = pytest.mark.parametrize("name", MEMBERS)


def problem(dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + M, 2))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2).astype(dtype)
    return k[:N, :N], k[N:, :N], k[N:, N:], rng.normal(size=(N, 2)).astype(dtype)


def in_trouble(result):
    """Whether a result says not to trust it: by its status, or by NaN for want of one."""
    if hasattr(result, "status"):
        return result.status != Status.SUCCESS
    return np.isnan(result).all()


@family
def test_results_keep_the_dtype_and_half_precision_is_widened(name):
    call, _ = MEMBERS[name]
    for x64, given, kept in [
        (False, np.float32, np.float32),
        (False, np.float16, np.float32),
        (False, jnp.bfloat16, np.float32),
        (False, np.float64, np.float32),
        (True, np.float32, np.float32),
        (True, np.float64, np.float64),
    ]:
        with jax.enable_x64(x64):
            shapes = jax.eval_shape(lambda given=given: call(*problem(given), 0.1))
            dtypes = {leaf.dtype for leaf in jax.tree.leaves(shapes)} - {np.dtype(np.int32)}
            assert dtypes == {np.dtype(kept)}
    assert not in_trouble(call(*problem(np.float16), 0.1))


@family
def test_trouble_in_the_values_is_never_silent(name):
    call, _ = MEMBERS[name]
    k, ks, kss, y = problem()
    assert not in_trouble(call(k, ks, kss, y, 0.1))
    assert in_trouble(call(k, ks, kss, y, jnp.float32(-0.1)))
    assert in_trouble(call(k, ks, kss, y, jnp.float32(np.nan)))
    assert in_trouble(call(np.triu(k), ks, kss, y, 0.1))
    assert in_trouble(call(-k, ks, kss, y, 0.1))
    assert in_trouble(call(k - 0.3 * np.eye(N, dtype=k.dtype), ks, kss, y, 0.0))
    for place in (0, 3):
        for bad in (np.nan, np.inf):
            arguments = [a.copy() for a in problem()]
            arguments[place][0, 0] = bad
            assert in_trouble(call(*arguments, 0.1))


@family
def test_the_second_call_with_other_values_compiles_nothing(name):
    call, compiled = MEMBERS[name]
    k, ks, kss, y = problem()
    call(k, ks, kss, y, 0.1)
    before = compiled._cache_size()
    call(2 * k, 2 * ks, 2 * kss, y + 1, 0.3)
    assert compiled._cache_size() == before > 0


@family
def test_jit_and_vmap_over_the_noise_change_nothing(name):
    call, _ = MEMBERS[name]
    arguments = problem()
    noises = np.array([0.05, 0.3, 4.0], np.float32)
    many = jax.jit(jax.vmap(lambda noise: call(*arguments, noise)))(noises)
    for i, noise in enumerate(noises):
        one = call(*arguments, noise)
        for batched, single in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(batched[i], single, rtol=1e-4, atol=1e-5)


@family
def test_derivatives_agree_with_finite_differences_in_every_argument(x64, name):
    call, _ = MEMBERS[name]
    at = (*problem(np.float64), 0.3)
    rng = np.random.default_rng(1)

    @jax.jit
    @jax.value_and_grad
    def value(arguments):
        leaves = jax.tree.leaves(call(*arguments))
        return sum(
            jnp.sum(jnp.sin(leaf + jnp.arange(leaf.size).reshape(leaf.shape)))
            for leaf in leaves
            if leaf.dtype == np.float64
        )

    gradients = value(at)[1]
    for i, (argument, gradient) in enumerate(zip(at, gradients, strict=True)):
        direction = rng.normal(size=np.shape(argument))
        if i in (0, 2):
            direction = direction + direction.T  # else it is no kernel
        ahead, behind = [
            value(tuple(a + s * direction if i == j else a for j, a in enumerate(at)))[0]
            for s in (1e-6, -1e-6)
        ]
        np.testing.assert_allclose(
            np.sum(gradient * direction), (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7
        )


@family
def test_strict_promotion_finds_nothing(strict_promotion, name):
    call, _ = MEMBERS[name]
    jax.eval_shape(call, *problem(), jnp.float32(0.1))
    jax.eval_shape(
        lambda k: jax.jvp(lambda k: call(k, *problem()[1:], 0.1), (k,), (k,)), problem()[0]
    )


def products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in jax.tree.leaves(
            tuple(equation.params.values()),
            is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr"),
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@family
def test_every_product_asks_for_the_highest_precision(name):
    call, _ = MEMBERS[name]
    at = (*problem(), 0.1)

    def along(arguments):
        return jax.jvp(lambda k: call(k, *arguments[1:]), (arguments[0],), (arguments[0],))

    found = list(products(jax.make_jaxpr(along)(at).jaxpr))
    assert found
    for equation in found:
        precision = equation.params["precision"]
        precision = precision if isinstance(precision, tuple) else (precision,)
        assert set(precision) == {jax.lax.Precision.HIGHEST}, equation


K, KS, KSS, Y = np.eye(3), np.ones((2, 3)), np.eye(2), np.ones((3, 2))
t, mixture = predict.student_t_posterior, predict.scale_mixture_posterior
evidence, lml = predict.evidence, predict.log_marginal_likelihood
loo, loo_posterior = predict.leave_one_out, predict.leave_one_out_posterior


def ones(key, n):
    return jnp.ones(n)


class Pair:
    def __init__(self, nngp, ntk):
        self.nngp, self.ntk = nngp, ntk


MISTAKES = [
    (lambda: lml(K[:2], Y, noise=0.1), ValueError, r"k_train must have shape \(2, 2\)"),
    (lambda: lml(K, Y[:2], noise=0.1), ValueError, r"y must have one row for each of the 3"),
    (lambda: lml(K, Y.astype(int), noise=0.1), TypeError, "y must be a real floating-point"),
    (lambda: lml(K.astype(complex), Y, noise=0.1), TypeError, "k_train must be a real floating"),
    (lambda: lml(K, Y, noise=-0.1), ValueError, "noise must be finite and 0 or positive, got -0.1"),
    (lambda: evidence(Pair(None, K), Y, noise=0.1), ValueError, "k_train.nngp is None"),
    (lambda: evidence(K, Y, noise=np.ones(2)), ValueError, r"noise must be a scalar.*\(2,\)"),
    (lambda: loo(K[0], Y, ridge=0.1), ValueError, "k_train must be a non-empty matrix"),
    (lambda: loo(KS, Y, ridge=0.1), ValueError, r"k_train must have shape \(2, 2\)"),
    (lambda: loo(Pair(K, KS), Y, ridge=0.1), ValueError, r"k_train.ntk must have shape \(2, 2\)"),
    (lambda: loo(Pair(K, None), Y, ridge=0.1), ValueError, "k_train.ntk is None"),
    (lambda: loo(K, Y, ridge=-1), ValueError, "ridge must be finite and 0 or positive, got -1"),
    (lambda: loo(K, Y.astype(bool), ridge=1), TypeError, "y must be a real floating-point"),
    (lambda: loo_posterior(K, Y, noise="1"), TypeError, "noise must be a real number, got '1'"),
    (lambda: t(K, KS, KSS, Y, a=0, b=1), ValueError, "a must be finite and positive, got 0"),
    (lambda: t(K, KS, KSS, Y, a=1, b=-2.0), ValueError, "b must be finite and positive, got -2.0"),
    (lambda: t(K, KS, KSS, Y, a=1, b=np.nan), ValueError, "b must be finite and positive, got nan"),
    (lambda: t(K, KS, KSS, Y, a=1j, b=1), TypeError, "a must be a real number, got 1j"),
    (lambda: t(K, KS, KSS, Y, a=1, b=1, noise=-1), ValueError, "noise must be finite and 0 or"),
    (lambda: t(K, KS.T, KSS, Y, a=1, b=1), ValueError, r"k_test_train must have shape \(3, 3\)"),
    (lambda: t(K, KS, K, Y, a=1, b=1), ValueError, r"k_test_test must have shape \(2, 2\)"),
    (
        lambda: mixture(K, KS, KSS, Y, prior=None, key=KEY),
        TypeError,
        r"prior must be a function \(key, n_samples\), got None",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=ones, key=0),
        TypeError,
        "key must be a typed JAX key, .* got 0",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=ones, key=jax.random.PRNGKey(0)),
        TypeError,
        "key must be a typed JAX key, .* got an array of uint32",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=ones, key=jax.random.split(KEY)),
        ValueError,
        r"key must be a single key, got an array of keys of shape \(2,\)",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=ones, key=KEY, n_samples=0),
        ValueError,
        "n_samples must be a positive whole number .* got 0",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=ones, key=KEY, n_samples="many"),
        TypeError,
        "n_samples must be a plain positive whole number, got 'many'",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=lambda key, n: jnp.ones((n, 1)), key=KEY, n_samples=5),
        ValueError,
        r"prior must return samples of shape \(5,\), got shape \(5, 1\)",
    ),
    (
        lambda: mixture(K, KS, KSS, Y, prior=lambda key, n: np.arange(n), key=KEY),
        TypeError,
        "prior must return an array of floating-point numbers",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_named_before_anything_is_computed(call, error, message):
    with pytest.raises(error, match=message):
        call()
