"""One problem spread over a mesh, in a process of its own: ``on_a_mesh.py [processes rank port]``.

Prints JSON: for each case the value, the error, the status and the gradients; from every process.
"""

import json
import sys

import jax
import numpy as np
from jax.sharding import AxisType

if len(sys.argv) > 1:
    processes, rank, port = (int(word) for word in sys.argv[1:])
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, rank)
jax.config.update("jax_enable_x64", True)

from tests.transport import families  # noqa: E402
from theorylab import transport  # noqa: E402

mesh = jax.make_mesh((jax.device_count(),), ("points",), axis_types=(AxisType.Auto,))
cost, a, b, weights = families.small(7, 13)
x, y = families.clouds(13, 0)
a[2] = b[3] = 0
a, b = a / a.sum(), b / b.sum()


def matrix(t, mesh=mesh, **options):
    """A matrix whose columns are spread."""
    return transport.solve(cost + t * weights, a, b, epsilon=0.05, tol=1e-13, mesh=mesh, **options)


def points(t, mesh=mesh):
    """Points whose rows are spread, in blocks."""
    cloud = transport.PointCloud(y + t, x[:7], block=2)
    return transport.solve(cloud, None, a, epsilon=0.5, tol=1e-13, mesh=mesh)


def told(s):
    """What all processes can see."""
    return {"value": float(s.value), "error": float(s.marginal_error), "status": int(s.status)}


found = {}
for name, run in (("matrix", matrix), ("points", points)):
    s = run(0.0)
    whole = run(0.0, mesh=None)
    small = "g" if name == "points" else "f"
    apart = np.abs(np.asarray(getattr(s, small)) - np.asarray(getattr(whole, small))).max()
    slopes = [jax.grad(lambda t, run=run, m=m: run(t, mesh=m).value)(0.0) for m in (mesh, None)]
    found[name] = told(s) | {"expected": float(whole.value), "apart": float(apart)}
    found[name] |= {"slopes": [float(v) for v in slopes], "devices": jax.device_count()}
found["sinkhorn"] = told(matrix(0.0, method="sinkhorn")) | {"expected": found["matrix"]["value"]}
sys.stdout.write(json.dumps(found) + "\n")
