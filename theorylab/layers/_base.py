"""The layer record: what every node of a network's tree can do.

A network is a tree of frozen dataclasses registered as pytrees. Hyperparameters that the theory
differentiates (``W_std``, ``b_std``, activation constants) are leaves, everything that decides
shapes is static. So one object can be passed to ``jit``, differentiated in ``W_std``, mapped over a
phase diagram, compared and printed. A layer knows its finite network (``init``, ``apply``); how it
acts on kernels is registered in :mod:`theorylab.kernels`.
"""

import math
import numbers
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

if TYPE_CHECKING:
    from theorylab.kernels import Kernel, KernelState, Plan

Shape = tuple[int, ...]


class Layer:
    """Base of all layer records; see the constructors (``Dense``, ``Relu``, ``serial``, ...).

    A layer unpacks into the triple ``init, apply, kernel = layer``.
    """

    def init(self, key: Array, input_shape: Any) -> Any:
        """Draw parameters for inputs of ``input_shape``, batch axis included.

        Parameters
        ----------
        key
            Typed JAX key, ``jax.random.key(seed)``.
        input_shape
            ``x.shape``, e.g. ``(n, d)``; a tuple of shapes for a network with several inputs.

        Returns
        -------
        params
            Pytree of float32 arrays (float64 where 64-bit types are enabled). A network gives one
            entry per layer; layers without parameters give ``()``.
        """
        raise NotImplementedError

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        """The finite network: outputs for inputs ``x`` with parameters ``params``."""
        raise NotImplementedError

    def output_shape(self, input_shape: Any) -> Any:
        """Shape of ``apply``'s result for inputs of ``input_shape``, batch axis included."""
        return input_shape

    def kernel(
        self,
        x1: Any,
        x2: Any = None,
        *,
        ntk: bool = True,
        memory_limit: int | None = None,
        **layer_inputs: Any,
    ) -> "Kernel":
        """NNGP and NTK of the infinitely wide network; see :func:`theorylab.kernels.kernel`."""
        from theorylab import kernels

        return kernels.kernel(self, x1, x2, ntk=ntk, memory_limit=memory_limit, **layer_inputs)

    def propagate(self, state: "KernelState") -> "KernelState":
        """Kernels behind this layer from those before; see :func:`theorylab.kernels.propagate`."""
        from theorylab import kernels

        return kernels.propagate(self, state)

    def plan(self, shape1: Any, shape2: Any = None, **options: Any) -> "Plan":
        """What ``kernel`` will cost, before it does; see :func:`theorylab.kernels.plan`."""
        from theorylab import kernels

        return kernels.plan(self, shape1, shape2, **options)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.init, self.apply, self.kernel))


def check_scale(layer: str, name: str, value: Any) -> None:
    """Raise unless ``value`` can be a standard deviation: finite and not negative.

    A traced or batched leaf has no value yet, and passes.
    """
    number = check_constant(layer, name, value)
    if number is not None and number < 0:
        raise ValueError(f"{layer}: {name} must not be negative, got {value!r}")


def check_constant(layer: str, name: str, value: Any) -> float | None:
    """The number, if it is known; raises unless it is real and finite, or an array."""
    is_array = isinstance(value, np.ndarray | Array)
    if isinstance(value, bool) or not (is_array or isinstance(value, numbers.Real)):
        raise TypeError(f"{layer}: {name} must be a real number, got {value!r}")
    if not is_array or value.ndim == 0:
        try:
            number = float(value)
        except jax.errors.ConcretizationTypeError:  # a traced leaf
            return None
        if not math.isfinite(number):
            raise ValueError(f"{layer}: {name} must be finite, got {value!r}")
        return number
    return None


def check_count(layer: str, name: str, value: Any) -> None:
    """Raise unless ``value`` is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{layer}: {name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{layer}: {name} must be at least 1, got {value}")
