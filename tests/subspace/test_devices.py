"""A batch spread over eight devices, theta_d on all of them: the training of one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def test_spread_over_eight_devices_it_is_the_training_of_one():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("on_devices.py"))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert max(found["kinds"].values()) < 1e-5
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
        alone = found[dtype].pop("alone")
        assert alone["devices"] == 1 and alone["moved"] > 0.1
        for way, spread in found[dtype].items():
            assert spread["devices"] == 8 and spread["replicated"], way
            np.testing.assert_allclose(
                spread["theta"], alone["theta"], atol=tolerance * alone["moved"], err_msg=way
            )
