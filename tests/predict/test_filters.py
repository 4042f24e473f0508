"""The scalar functions behind flow and steps, against 60 digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from theorylab.predict._filters import divided_differences, gain

WS = np.array([1e-12, 1e-8, 1e-5, 1.1e-5, 0.1, 0.1000001, 0.25, 0.5, 1.0, 1.0000000001, 1.5, 1.9])
TIMES = [1, 4, 300, 1e5, np.inf]  # with w = 1, 1/4 and 1e-5, x = 1 is met exactly


def exact(w, t, discrete):
    if t == np.inf:
        return 1 / w
    return (1 - (1 - w) ** int(t)) / w if discrete else (1 - mpmath.exp(-w * t)) / w


@pytest.mark.parametrize("discrete", [False, True], ids=["flow", "steps"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gain_has_full_relative_accuracy(discrete, dtype):
    with jax.enable_x64(True), mpmath.workdps(60):
        ws = WS.astype(dtype)
        rate = jnp.ones((), dtype)
        for t in TIMES:
            found = gain(jnp.asarray(ws), rate, jnp.asarray(t, dtype), discrete=discrete)
            assert found.dtype == dtype
            expected = [float(exact(mpmath.mpf(float(w)), t, discrete)) for w in ws]
            np.testing.assert_allclose(found, expected, rtol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("discrete", [False, True], ids=["flow", "steps"])
def test_divided_differences_are_accurate_for_near_equal_and_distant_eigenvalues(x64, discrete):
    with mpmath.workdps(60):
        for t in TIMES:
            ws, none_held = jnp.asarray(WS), jnp.zeros(len(WS), bool)
            table = divided_differences(
                ws, none_held, jnp.asarray(1.0), jnp.asarray(t), discrete=discrete
            )
            found = np.asarray(table).tolist()
            for i, a in enumerate(map(mpmath.mpf, WS.tolist())):
                for j, b in enumerate(map(mpmath.mpf, WS.tolist())):
                    if i == j:
                        expected = mpmath.diff(lambda w, t=t: exact(w, t, discrete), a)
                    else:
                        expected = (exact(a, t, discrete) - exact(b, t, discrete)) / (a - b)
                    assert abs(found[i][j] - expected) <= 1e-10 * abs(expected) + 1e-15, (t, a, b)


def test_held_directions_have_no_gain_and_do_not_disturb_the_others(x64):
    ws, held = jnp.asarray([0.0, 1e-17, 0.5]), jnp.asarray([True, True, False])
    found = divided_differences(ws, held, jnp.asarray(1.0), jnp.asarray(np.inf), discrete=False)
    np.testing.assert_allclose(found, [[0, 0, 4], [0, 0, 4], [4, 4, -4]], rtol=1e-14)
