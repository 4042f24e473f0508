"""Each device its own batch, in shard_map: training as under vmap, and not along their sum."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_devices_with_batches_of_their_own_train_as_under_vmap():
    flags = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("on_devices.py"))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 8
    for name, (difference, spread) in found.items():
        assert difference < 1e-5, name
        assert spread > 1e-2, name  # the batches do lead elsewhere
