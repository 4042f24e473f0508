"""Writes experiments/_float32_kernels_peer.npz: errors of neural-tangents 0.6.5 in float32.

    python tests/oracles/generate_nt_float32.py

runs with the project's own Python, and calls itself once more with that of the isolated
environment (``make.sh env`` builds it), which turns the inputs into float32 kernels behind each
depth. Back here they are measured against our float64 kernel of the same inputs, and only the
measures are kept: for each set of inputs (FINGERPRINT of the experiment's presets) and each
network, ``FINGERPRINT/NETWORK/error_nngp``, ``error_ntk``, ``smallest_nngp``, ``smallest_ntk``, one
number per depth, as `experiments.float32_kernels` measures ours. Beside them ``versions``, and
``digest`` of this script.
"""

# ruff: noqa: T201

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]


def isolated(source, target):
    """Compute the float32 kernels; this part runs in the isolated environment."""
    sys.path.insert(0, str(ROOT / "experiments"))
    import jax
    import neural_tangents as nt
    from _float32_kernels_textbook import NETWORKS

    assert not jax.config.jax_enable_x64
    activations = {"relu": nt.stax.Relu, "erf": nt.stax.Erf, "gelu": nt.stax.Gelu}
    with np.load(source) as given:
        inputs, depth = given["x"], int(given["depth"])
    kernels = {}
    for name, (activation, w, b) in NETWORKS.items():
        for layers in range(1, depth + 1):
            hidden = [nt.stax.Dense(1, W_std=w, b_std=b), activations[activation]()] * layers
            kernel_fn = jax.jit(nt.stax.serial(*hidden, nt.stax.Dense(1))[2], static_argnames="get")
            found = kernel_fn(inputs, None, get=("nngp", "ntk"))
            assert found.ntk.dtype == np.float32
            kernels[f"{name}/{layers}/nngp"] = np.asarray(found.nngp)
            kernels[f"{name}/{layers}/ntk"] = np.asarray(found.ntk)
    versions = {"neural-tangents": nt, "jax": jax, "numpy": np}
    kernels["versions"] = np.array([f"{name} {m.__version__}" for name, m in versions.items()])
    np.savez(target, **kernels)


def main():
    """Write the file."""
    sys.path.insert(0, str(ROOT))
    from experiments import _float32_kernels_data as data
    from experiments import _float32_kernels_textbook as textbook
    from experiments import float32_kernels

    python = ROOT / ".oracles-venv" / "bin" / "python"
    arrays = {"digest": np.array(hashlib.sha256(HERE.read_bytes()).hexdigest())}
    for preset, config in float32_kernels.PRESETS.items():
        x = data.points(config.images, config.copies)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "inputs.npz", Path(folder) / "kernels.npz"
            np.savez(source, x=x, depth=config.depth)
            subprocess.run(
                [python, HERE, str(source), str(target)],
                check=True,
                env={"JAX_PLATFORMS": "cpu", "PATH": ""},
            )
            with np.load(target) as stored:
                kernels = dict(stored)
        arrays["versions"] = kernels.pop("versions")
        for name, network in textbook.NETWORKS.items():
            exact = float32_kernels.reference(network, x, config.depth)
            for field, reference in exact.items():
                layers = range(1, config.depth + 1)
                found = np.stack([kernels[f"{name}/{layer}/{field}"] for layer in layers])
                place = f"{data.fingerprint(x)}/{name}"
                arrays[f"{place}/error_{field}"] = textbook.error(found, reference)
                arrays[f"{place}/smallest_{field}"] = textbook.smallest(found)
                worst = np.nanmax(arrays[f"{place}/error_{field}"])
                print(f"{preset}, {name}, {field}: worst error {worst:.1e}")
    np.savez_compressed(data.PEER, **arrays)
    print(f"{data.PEER.name}: {data.PEER.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        isolated(*sys.argv[1:])
    else:
        main()
