"""The character model against its formulas in NumPy, and its training against a loop by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import _characters as characters

SIZES = {"layers": 2, "width": 32, "context": 6, "symbols": 5}
CODES = np.random.default_rng(0).integers(0, 5, 400).astype(np.uint8)


@pytest.fixture(scope="module")
def params():
    drawn = characters.init(jax.random.key(0), **SIZES)
    generator = np.random.default_rng(1)  # norms and distances away from where they begin
    return {
        name: value + 0.1 * generator.standard_normal(value.shape).astype(np.float32)
        for name, value in drawn.items()
    }


def written_out(params, window):
    """The loss of each character of one window but the first, token by token, in float64."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    x = p["embedding"][window[:-1]]
    for i in range(2):
        z = norm(x, p[f"{i}.norm_attention"]) @ p[f"{i}.qkv"]
        mixed = np.zeros_like(x)
        for head in range(2):
            q, k, v = (z[:, 32 * part + 16 * head :][:, :16] for part in range(3))
            for t in range(len(x)):
                logits = [q[t] @ k[s] / 4 + p[f"{i}.distance"][head, t - s] for s in range(t + 1)]
                weights = np.exp(logits) / np.exp(logits).sum()
                mixed[t, 16 * head : 16 * head + 16] = weights @ v[: t + 1]
        x = x + mixed @ p[f"{i}.out"]
        hidden = np.maximum(norm(x, p[f"{i}.norm_dense"]) @ p[f"{i}.up"], 0) ** 2
        x = x + hidden @ p[f"{i}.down"]
    logits = norm(x, p["norm_readout"]) @ p["readout"]
    chosen = logits[np.arange(len(x)), window[1:]]
    return np.log(np.exp(logits).sum(1)) - chosen


def test_the_loss_is_that_of_the_formulas_and_no_character_sees_later_ones(params):
    windows = CODES[:21].reshape(3, 7).astype(np.int32)
    each = np.stack([written_out(params, window) for window in windows])
    found = characters.evaluate(params, jnp.asarray(windows))
    np.testing.assert_allclose(found, each.mean(1), rtol=1e-5)
    # The written-out loop sees no later character, so this is causality too; a shorter window
    # is the start of a longer one.
    np.testing.assert_allclose(
        characters.loss(params, jnp.asarray(windows[:, :4])), each[:, :3].mean(), rtol=1e-5
    )


def test_initial_parameters_have_the_stated_scales_and_differ_by_seed():
    one, other = (characters.init(jax.random.key(seed)) for seed in (0, 1))
    assert one["embedding"].shape == (98, 64)
    assert one["1.down"].shape == (256, 64)
    for name, scale in (("embedding", 1), ("readout", 1 / 8), ("0.qkv", 1 / 8), ("1.down", 1 / 16)):
        # Four standard errors of the standard deviation of so many numbers.
        error = 4 / np.sqrt(2 * one[name].size)
        assert float(one[name].std()) == pytest.approx(scale, rel=error)
        assert abs(np.corrcoef(one[name].ravel(), other[name].ravel())[0, 1]) < 0.06
    np.testing.assert_allclose(one["0.distance"][:, 1], [-1, -1 / 4, -1 / 16, -1 / 64])
    with pytest.raises(ValueError, match="width must be a positive multiple of 16, got 40"):
        characters.init(jax.random.key(0), width=40)


def test_training_takes_the_steps_of_a_loop_and_batches_do_not_depend_on_where_it_is():
    params = characters.init(jax.random.key(2), **SIZES | {"layers": 1, "width": 16})
    key, rates = jax.random.key(3), np.array([0.2, 0.1, 0.05, 0.0])

    def watch(params, gradients):
        return params["embedding"][0, 0], optax.tree.norm(gradients)

    run = characters.trainer(
        optax.sgd, batch=2, watch=watch, observe=lambda p: p["norm_readout"], every=2
    )
    found = run(params, key, rates, jnp.asarray(CODES))
    step = jax.jit(jax.value_and_grad(characters.loss))
    windows = jax.jit(lambda key, codes: characters.windows(key, codes, 2, 6))
    params = {name: np.asarray(value) for name, value in params.items()}
    here, losses, still, norms = params, [], [], []
    for count, rate in enumerate(rates):
        tokens = windows(jax.random.fold_in(key, count), jnp.asarray(CODES))
        assert tokens.shape == (2, 7)
        value, slope = step(here, tokens)
        losses.append(value)
        still.append(step(params, tokens)[0])
        norms.append(np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in slope.values())))
        here = {name: here[name] - np.float32(rate) * np.asarray(slope[name]) for name in here}
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.watched[1], norms, rtol=1e-4)
    assert found.watched[0][0] == params["embedding"][0, 0]  # watched before the step
    assert found.observed.shape == (2, 16)
    for name in here:
        np.testing.assert_allclose(found.params[name], here[name], atol=1e-5)
    np.testing.assert_array_equal(found.observed[-1], found.params["norm_readout"])
    # With rates of 0 it stays where it is, and sees the same batches.
    unmoved = run(params, key, 0 * rates, jnp.asarray(CODES))
    np.testing.assert_allclose(unmoved.losses, still, rtol=1e-5)
    with pytest.raises(ValueError, match="every must divide the 3 steps, got 2"):
        run(params, key, rates[:3], jnp.asarray(CODES))


def test_windows_are_pieces_of_the_text_and_those_held_out_are_fixed():
    assert characters.fingerprints() == {characters.text().name: characters.text().fingerprint}
    windows = np.asarray(characters.windows(jax.random.key(5), jnp.asarray(CODES), 50, 6))
    pieces = {bytes(CODES[i : i + 7]) for i in range(400 - 6)}
    assert all(bytes(window.astype(np.uint8)) in pieces for window in windows)
    fixed = np.asarray(characters.held_out(3, 10))
    codes = characters.text().held_out
    middle = (len(codes) - 11) // 2
    for window, start in zip(fixed, (0, middle, len(codes) - 11), strict=True):
        np.testing.assert_array_equal(window, codes[start : start + 11])
