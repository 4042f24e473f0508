"""What is asked of activations, beside tests of bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab.limits._activation import checked_activation


@pytest.mark.parametrize("mixing", [jnp.cumsum, jnp.sort, lambda h: h - h[-1], lambda h: h[::-1]])
def test_functions_that_mix_entries_in_any_way_are_refused(mixing):
    with pytest.raises(ValueError, match="every entry by itself"):
        checked_activation(mixing)


@pytest.mark.parametrize(
    ("activation", "match"),
    [
        (jnp.sqrt, "finite on the whole line.* value at -3.1 is nan"),
        (jnp.log, "finite on the whole line.* value at -3.1 is nan"),
        (lambda h: jnp.abs(h + 0.1) ** 0.5, "finite on the whole line.* derivative at -0.1 is"),
    ],
)
def test_functions_of_half_the_line_are_refused_for_that_reason(activation, match):
    with pytest.raises(ValueError, match=match):
        checked_activation(activation)


def test_an_activation_may_close_over_what_is_traced():
    def value(slope):
        return checked_activation(lambda h: slope * jnp.tanh(h))(jnp.ones(2)).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(value))(2.0), 2 * np.tanh(1), rtol=1e-6)
