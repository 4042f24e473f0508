"""One problem over 8 devices of one process, and over two processes, is the problem on one device.

What runs is ``on_a_mesh.py``, in processes of its own, since devices are counted once.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from tests.transport import spread
from theorylab import transport

ROOT = Path(__file__).parents[2]


def started(*arguments, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("on_a_mesh.py")), *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def alone():
    with jax.enable_x64(True):
        return {name: spread.solved(name) for name in spread.CASES}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_problem_spread_over_devices_is_the_problem(alone, processes):
    if processes == 1:
        running = [started(devices=8)]
    else:
        port = free_port()
        running = [started(2, rank, port) for rank in range(2)]
    for found in [told(process) for process in running]:
        assert found["devices"] == (8 if processes == 1 else 2)
        for name, expected in alone.items():
            case = found[name]
            assert case["status"] == 0
            assert case["error"] < 1e-12
            for field in ("value", "potential", "slope"):
                np.testing.assert_allclose(case[field], expected[field], rtol=1e-9, atol=1e-12)


def test_what_cannot_be_spread_raises():
    mesh = jax.make_mesh((1,), ("points",), axis_types=(AxisType.Auto,))
    cost = np.eye(3, dtype=np.float32)
    with pytest.raises(TypeError, match="mesh must be a jax.sharding.Mesh with one axis"):
        transport.solve(cost, epsilon=0.1, mesh="cpu")
    for arguments in ({"method": "sns"}, {"cost": np.stack([cost, cost])}):
        with pytest.raises(ValueError, match="mesh spreads a single problem"):
            transport.solve(**{"cost": cost, "epsilon": 0.1, "mesh": mesh} | arguments)
