"""SOAP over eight devices is SOAP on one; what runs is on_devices.py, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import optim

ROOT = Path(__file__).parents[2]


def test_spread_over_eight_devices_it_is_the_same():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("on_devices.py"))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    # Seven calls at a rate of 0.01 move a parameter by about 0.07.
    for dtype, atol in (("float64", 1e-12), ("float32", 1e-4)):
        alone, spread = found[dtype]["alone"], found[dtype]["spread"]
        for name, params in alone["params"].items():
            np.testing.assert_allclose(spread["params"][name], params, rtol=0, atol=atol)
        assert alone["rows"] == [[3, 3, 3], [8, 8, 8]]
        assert spread["specs"] == ["()", "('d',)"]
        assert spread["rows"] == [[3, 3, 3], [1, 8, 8]]
    assert found["inside"] <= 1e-12


def test_shardings_need_an_axis_and_parameters_that_lie_somewhere():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    tx, w = optim.soap(1e-3), jnp.zeros((3, 3))
    state = tx.init(w)
    with pytest.raises(ValueError, match=r"axis must be one of \('d',\), got 'e'"):
        optim.soap_sharding(state, w, mesh, "e")
    bare = {"w": jax.ShapeDtypeStruct((3, 3), jnp.float32)}
    with pytest.raises(ValueError, match=r"params\['w'\] must have a sharding"):
        optim.soap_sharding(jax.eval_shape(tx.init, bare), bare, mesh, "d")
