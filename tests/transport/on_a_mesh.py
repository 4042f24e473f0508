"""Problems spread over a mesh, in a process of its own: ``on_a_mesh.py [processes rank port]``.

Writes JSON: for each case value, error, status, slope, and the potential that every process holds.
"""

import json
import sys

import jax

if len(sys.argv) > 1:
    processes, rank, port = (int(word) for word in sys.argv[1:])
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, rank)
jax.config.update("jax_enable_x64", True)

from tests.transport.spread import CASES, solved  # noqa: E402

mesh = jax.sharding.Mesh(jax.devices(), ("points",))
found = {"devices": jax.device_count()}
for name in CASES:
    found[name] = {k: v.tolist() for k, v in solved(name, mesh).items()}
sys.stdout.write(json.dumps(found) + "\n")
