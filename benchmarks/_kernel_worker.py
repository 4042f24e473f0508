"""One side of the kernel benchmark: a process that answers JSON lines until its input ends.

Run with the interpreter of an environment, ours or the predecessor's, so it imports only what both
have and the one library asked for. Commands, one JSON object a line:

* ``{"do": "prepare", "network": .., "shape": [..], "bias": null | float, "general": bool}``: makes
  the data, traces and compiles, runs the call twice. Answers ``first_cpu``: CPU-seconds of the
  first call less those of the second, that is tracing and compiling;
* ``{"do": "call", "repeats": r}``: CPU-seconds and wall seconds of a call, mean over r;
* ``{"do": "status"}``: peak resident memory in MiB, versions, the mean of the last NTK.
"""

import json
import resource
import sys
import time

ROOT2 = 2**0.5


def dense(layers, bias):
    """3 hidden ReLU layers."""
    hidden = [layers.Dense(512, W_std=ROOT2, b_std=bias), layers.Relu()] * 3
    return layers.serial(*hidden, layers.Dense(1, W_std=ROOT2, b_std=bias))


def convolutions(layers, bias, depth):
    """Layers of 3 x 3 filters, each with a ReLU."""
    layer = layers.Conv(64, (3, 3), padding="SAME", W_std=ROOT2, b_std=bias)
    return [layer, layers.Relu()] * depth


def flat(layers, bias):
    """5 convolutions and a dense layer on their flattened output."""
    return layers.serial(*convolutions(layers, bias, 5), layers.Flatten(), layers.Dense(1))


def pooled(layers, bias):
    """5 convolutions and a dense layer on the average of their output."""
    return layers.serial(*convolutions(layers, bias, 5), layers.GlobalAvgPool(), layers.Dense(1))


def myrtle(layers, bias):
    """Myrtle-5 (Shankar et al. 2020, figure 1), for images whose side 32 divides."""
    half = [layers.AvgPool((2, 2), strides=(2, 2))]
    blocks = [*convolutions(layers, bias, 2), *half, *convolutions(layers, bias, 1), *half]
    blocks += [*convolutions(layers, bias, 1), *half * 3]
    return layers.serial(*blocks, layers.Flatten(), layers.Dense(1, W_std=ROOT2, b_std=bias))


NETWORKS = {"dense": dense, "flat": flat, "pooled": pooled, "myrtle": myrtle}


def ours(network, bias):
    """Return the call (x1, x2 or None) -> arrays, and the versions of what is behind it."""
    import jax

    import theorylab
    from theorylab import kernels

    net = NETWORKS[network](kernels, bias)
    versions = {"jax": jax.__version__, "theorylab": theorylab.__version__}
    return (lambda x1, x2: tuple(net.kernel(x1, x2))), versions


def peer(network, bias, wanted):
    """Return the same for neural-tangents, whose kernel function is compiled by its user."""
    import jax
    import neural_tangents

    _, _, kernel_fn = NETWORKS[network](neural_tangents.stax, bias)
    versions = {"jax": jax.__version__, "neural-tangents": neural_tangents.__version__}
    return jax.jit(lambda x1, x2: tuple(kernel_fn(x1, x2, get=wanted))), versions


SIDES = {
    "ours": ours,
    "peer-both": lambda network, bias: peer(network, bias, ("nngp", "ntk")),
    "peer-ntk": lambda network, bias: peer(network, bias, ("ntk",)),
}


def peak_memory():
    """Peak resident set in MiB."""
    try:
        # ru_maxrss survives exec, so it would show a larger parent's; this counter starts anew.
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line[:6] == "VmHWM:") / 1024
    except (OSError, StopIteration):
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def once(call, arguments):
    """CPU-seconds, wall seconds and the result of one call."""
    import jax

    cpu, wall = time.process_time(), time.perf_counter()
    result = jax.block_until_ready(call(*arguments))
    return time.process_time() - cpu, time.perf_counter() - wall, result


def inputs(shape, general):
    """(x1, x2), or (x1, None), float32 normals that lie on the device."""
    import jax
    import numpy as np

    rng = np.random.default_rng(0)
    x1, x2 = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    return jax.device_put(x1), jax.device_put(x2) if general else None


def serve(side, requests, answer):
    """Answer requests, an iterable of objects whose first is "prepare", with `answer(object)`."""
    import numpy as np

    first = next(requests)
    call, versions = SIDES[side](first["network"], first["bias"])
    arguments = inputs(first["shape"], first["general"])
    compiling, _, _ = once(call, arguments)
    steady, _, last = once(call, arguments)
    answer({"first_cpu": compiling - steady})
    for request in requests:
        if request["do"] == "call":
            cpu = wall = 0.0
            for _ in range(request["repeats"]):
                last = None  # so that two results are never held at once
                one_cpu, one_wall, last = once(call, arguments)
                cpu, wall = cpu + one_cpu, wall + one_wall
            answer({"cpu": cpu / request["repeats"], "wall": wall / request["repeats"]})
        else:
            # The NTK is the last array on each side; its mean must agree between them.
            mean = float(np.asarray(last[-1]).mean(dtype=np.float64))
            answer({"peak_mib": peak_memory(), "versions": versions, "ntk_mean": mean})


def main():
    """Read requests from standard input until it ends."""
    side = sys.argv[1]
    if side not in SIDES:
        raise SystemExit(f"side must be one of {sorted(SIDES)}, got {side!r}")
    # Whatever a library prints must not get between the answers.
    out, sys.stdout = sys.stdout, sys.stderr

    def answer(content):
        out.write(json.dumps(content) + "\n")
        out.flush()

    serve(side, (json.loads(line) for line in sys.stdin), answer)


if __name__ == "__main__":
    main()
