"""A conditioned network on each of two devices: what each trains alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def test_in_shard_map_with_its_checks_steps_are_scanned_as_on_one_device():
    flags = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("conditioned_on_devices.py"))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    spread, alone = json.loads(done.stdout.splitlines()[-1])
    assert len(spread) == 2 and abs(spread[0][0] - spread[1][0]) > 1e-3
    np.testing.assert_allclose(spread, alone, rtol=0, atol=1e-5)
