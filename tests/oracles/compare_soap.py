"""Runs PyTorch's SOAP on the stored inputs and prints how far it is from soap_torch.npz.

A tool, run by hand in an environment with torch:

    python tests/oracles/compare_soap.py soap.py    the authors' program (nikhilvyas/SOAP)
    python tests/oracles/compare_soap.py            the one in pytorch-optimizer

A line for each case: the largest difference of any parameter after any call, in float64 and in
float32, and that of our NumPy transcription. Of the authors' program at commit f42d296, on
torch 2.13.0, every difference is 0 but those of the closed loop and of singular factors in float32.

pytorch-optimizer 4.1.0 differs from the authors' program in four ways. It keeps m in the
parameter's basis (the same to rounding). It casts to float32 for the QR factorization, whatever the
parameters are: 2e-8 in float64, 2e-15 with the cast taken out. It normalises with ``eps`` in place
of 1e-30. Merged axes keep sizes of 1, and a tensor that merges into one axis raises.
"""

# ruff: noqa: T201

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from soap_cases import ARBITRARY, CLOSED, STRICT, load, loop  # noqa: E402
from soap_reference import run  # noqa: E402

SINGLE = torch.Tensor.float


def optimizer(path):
    """The class, and the names of our options in it."""
    if path is None:
        from pytorch_optimizer import SOAP

        return SOAP, {"max_precond_dim": "max_precondition_dim"}
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SOAP, {}


def trajectory(made, tensor, gradient, calls, dtype, bases, options):
    """The tensor before and after every call."""
    kind, renamed = made
    # The authors' program makes factors in the default dtype and calls .float() before LAPACK.
    torch.set_default_dtype(dtype)
    torch.Tensor.float = torch.Tensor.double if dtype == torch.float64 else SINGLE
    own = {renamed.get(name, name): value for name, value in options.items()}
    own |= {"lr": own.pop("learning_rate"), "betas": (own.pop("b1"), own.pop("b2"))}
    p = torch.nn.Parameter(torch.tensor(tensor.init, dtype=dtype))
    soap = kind([p], **own)
    path = [p.detach().numpy().copy()]
    for call in range(calls):
        p.grad = torch.tensor(gradient(call, path[-1]), dtype=dtype)
        soap.step()
        if call == 0 and bases is not None:
            soap.state[p]["Q"] = [[] if q is None else torch.tensor(q, dtype=dtype) for q in bases]
        path.append(p.detach().numpy().copy())
    return np.stack(path)


def main():
    """Print a line for each case."""
    made, closed = optimizer(sys.argv[1] if len(sys.argv) > 1 else None), loop()
    print(f"{'case':26}{'float64':>10}{'float32':>10}{'NumPy':>10}")
    for case in (*STRICT, *ARBITRARY, CLOSED):
        options, tensors = load(case)
        worst = np.zeros(3)
        for t in tensors.values():
            bases = t.bases if case in ARBITRARY else None
            given = (lambda _, x: closed(x)) if t.grads is None else (lambda k, _, g=t.grads: g[k])
            rest = (bases, options)
            double = trajectory(made, t, given, len(t.float64) - 1, torch.float64, *rest)
            single = trajectory(made, t, given, len(t.float64) - 1, torch.float32, *rest)
            ours = run(t.init, given, len(t.float64) - 1, bases, **options)[0]
            pairs = ((double, t.float64), (single, t.float32), (ours, t.float64))
            worst = np.maximum(worst, [np.abs(a - b).max() for a, b in pairs])
        print(f"{case:26}" + "".join(f"{value:10.1e}" for value in worst))


if __name__ == "__main__":
    main()
