"""One side of the benchmark of empirical kernels: answers JSON lines until its input ends.

Run with the interpreter of an environment, ours or the predecessor's, so it imports only what both
have and the one library asked for. Commands as in :mod:`benchmarks._kernel_worker`, but that
"prepare" names a network and answers the bytes of the compiler's temporaries as well.

The residual network is written out in plain JAX, so that both sides run the same function; it is
the one that flax's layers make (convolutions without bias, group normalisation, a dense layer).
"""

import json
import sys
import time

OUTPUTS = 10
STAGES = ((1, 2), (2, 2), (4, 2), (8, 2))  # width over the first, blocks


def mlp_sizes(width):
    """784 inputs, 3 hidden layers, 10 outputs."""
    return [784, width, width, width, OUTPUTS]


def mlp(params, x):
    """ReLU network."""
    import jax

    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def convolution(x, w, stride=1):
    """3 x 3 or 1 x 1 filters, padding SAME."""
    from jax import lax

    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=numbers)


def group_norm(x, scale, bias, groups=8):
    """Normalise over space and groups of channels."""
    from jax import lax

    n, h, w, c = x.shape
    x = x.reshape(n, h, w, groups, c // groups)
    mean = x.mean((1, 2, 4), keepdims=True)
    spread = ((x - mean) ** 2).mean((1, 2, 4), keepdims=True)
    return ((x - mean) * lax.rsqrt(spread + 1e-6)).reshape(n, h, w, c) * scale + bias


def resnet(params, x):
    """A residual network of 8 blocks, with ReLU."""
    import jax

    given = iter(params)

    def block_conv(x, stride=1):
        w, scale, bias = next(given)
        return group_norm(convolution(x, w, stride), scale, bias)

    x = jax.nn.relu(block_conv(x))
    for stage, (_, blocks) in enumerate(STAGES):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = block_conv(jax.nn.relu(block_conv(x, stride)))
            if x.shape != y.shape:
                x = block_conv(x, stride)
            x = jax.nn.relu(x + y)
    w, b = next(given)
    return x.mean((1, 2)) @ w + b


def parameters(network, width):
    """Float32 normals of variance one over fan-in, the same numbers on every side."""
    import numpy as np

    rng = np.random.default_rng(0)

    def normal(*shape):
        scale = np.prod(shape[:-1]) ** -0.5
        return (scale * rng.normal(size=shape)).astype(np.float32)

    if network == "mlp":
        sizes = mlp_sizes(width)
        return [(normal(a, b), 0.1 * normal(b)) for a, b in zip(sizes, sizes[1:])]  # noqa: B905
    made, channels = [], 3

    def conv(size, inside, outside):
        one = np.ones(outside, np.float32)
        made.append((normal(size, size, inside, outside), one, 0 * one))

    conv(3, channels, width)
    channels = width
    for factor, blocks in STAGES:
        for _ in range(blocks):
            outside = width * factor
            conv(3, channels, outside)
            conv(3, outside, outside)
            if channels != outside:
                conv(1, channels, outside)
            channels = outside
    return [*made, (normal(channels, OUTPUTS), np.zeros(OUTPUTS, np.float32))]


def inputs(network, n):
    """Float32 normals."""
    import numpy as np

    shape = (n, 784) if network == "mlp" else (n, 32, 32, 3)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def ours(f, how):
    """Return kernel(params, x), and versions."""
    import jax

    import theorylab
    from theorylab import empirical

    versions = {"jax": jax.__version__, "theorylab": theorylab.__version__}
    method = "structured" if how == "closed" else how
    return (lambda p, x: empirical.ntk(f, p, x, method=method, trace_axes=())), versions


def plain(f):
    """Return the same by NTK-vector products for all pairs at once, in ten lines of JAX."""
    import jax
    import jax.numpy as jnp

    def kernel(params, x):
        push = jax.linearize(lambda p: f(p, x), params)[1]

        def column(example, seed):
            pull = jax.vjp(lambda p: f(p, example[None])[0], params)[1]
            return push(pull(seed)[0])

        seeds = jnp.eye(OUTPUTS, dtype=x.dtype)
        full = jax.vmap(jax.vmap(column, (None, 0)), (0, None))(x, seeds)
        return full.transpose(2, 0, 3, 1)

    return kernel, {"jax": jax.__version__}


def peer(f, how):
    """Return the same for neural-tangents; ``how`` is the number of its implementation."""
    import jax
    import neural_tangents

    kernel = neural_tangents.empirical_ntk_fn(
        f, trace_axes=(), vmap_axes=0, implementation=int(how)
    )
    versions = {"jax": jax.__version__, "neural-tangents": neural_tangents.__version__}
    return (lambda p, x: kernel(x, None, p)), versions


def compiled(kernel, params, x, closed):
    """The compiled call without arguments, CPU-seconds of making it, bytes of temporaries."""
    import jax

    params, x = jax.device_put(params), jax.device_put(x)
    start = time.process_time()
    if closed:
        program = jax.jit(lambda x: kernel(params, x)).lower(x).compile()
        call = lambda: program(x)  # noqa: E731
    else:
        program = jax.jit(kernel).lower(params, x).compile()
        call = lambda: program(params, x)  # noqa: E731
    spent = time.process_time() - start
    memory = program.memory_analysis()
    return call, spent, None if memory is None else memory.temp_size_in_bytes


def resident(field, forget_peak=False):
    """Bytes of this process in memory now (VmRSS) or at the peak (VmHWM); Linux, else 0."""
    try:
        if forget_peak:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))
    except OSError:
        return 0


def serve(side, how, requests, answer):
    """Answer requests, the first of which is "prepare"."""
    import jax
    import numpy as np

    first = next(requests)
    f = mlp if first["network"] == "mlp" else resnet
    match side:
        case "ours":
            kernel, versions = ours(f, how)
        case "plain":
            kernel, versions = plain(f)
        case _:
            kernel, versions = peer(f, how)
    params = parameters(first["network"], first["width"])
    x = inputs(first["network"], first["n"])
    call, spent, temporaries = compiled(kernel, params, x, closed=how == "closed")
    before = resident("VmRSS", forget_peak=True)
    last = jax.block_until_ready(call())
    growth = resident("VmHWM") - before
    answer({"compile_cpu": spent, "temporaries": temporaries, "growth": growth})
    for request in requests:
        if request["do"] == "call":
            start = time.process_time()
            for _ in range(request["repeats"]):
                last = None
                last = jax.block_until_ready(call())
            answer({"cpu": (time.process_time() - start) / request["repeats"]})
        else:
            mean = float(np.abs(np.asarray(last)).mean(dtype=np.float64))
            answer({"versions": versions, "mean": mean})


def main():
    """Read requests from standard input until it ends."""
    side, _, how = sys.argv[1].partition("-")
    out, sys.stdout = sys.stdout, sys.stderr

    def answer(content):
        out.write(json.dumps(content) + "\n")
        out.flush()

    serve(side, how, (json.loads(line) for line in sys.stdin), answer)


if __name__ == "__main__":
    main()
