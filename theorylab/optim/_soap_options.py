"""The options of SOAP, their defaults and what they may be."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from theorylab.optim import _arguments as check
from theorylab.optim._soap_basis import METHODS
from theorylab.optim._soap_plan import Sides
from theorylab.optim._soap_step import Rates

# A NumPy integer: optax.inject_hyperparams makes arrays of Python's, and shapes depend on this one.
MAX_PRECOND_DIM: Any = np.int64(10000)

PRECOND_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Options:
    """What ``scale_by_soap`` takes; described there. Checked when made."""

    b1: Any = 0.95
    b2: Any = 0.95
    eps: Any = 1e-8
    shampoo_beta: Any = None
    precondition_frequency: Any = 10
    max_precond_dim: Any = MAX_PRECOND_DIM
    merge_dims: bool = False
    precondition_1d: bool = False
    normalize_grads: bool = False
    correct_bias: bool = True
    one_sided: bool | str = False
    refresh: str = "qr"
    first_step: str = "skip"
    mu_dtype: Any = None
    precond_dtype: Any = None
    data_format: str = "channels_first"

    def __post_init__(self) -> None:
        """Raise for the first option that will not do."""
        check.decay_rate("b1", self.b1)
        check.decay_rate("b2", self.b2)
        check.positive("eps", self.eps)
        if isinstance(self.shampoo_beta, int | float) and self.shampoo_beta == -1:
            raise ValueError("shampoo_beta must lie in [0, 1), got -1; None takes b2 for it")
        if self.shampoo_beta is not None:
            check.decay_rate("shampoo_beta", self.shampoo_beta)
        check.frequency("precondition_frequency", self.precondition_frequency)
        check.static_size("max_precond_dim", self.max_precond_dim)
        for name in ("merge_dims", "precondition_1d", "normalize_grads", "correct_bias"):
            check.flag(name, getattr(self, name))
        check.one_of("one_sided", self.one_sided, (False, "auto"))
        check.one_of("refresh", self.refresh, METHODS)
        check.one_of("first_step", self.first_step, ("skip", "adam"))
        check.one_of("data_format", self.data_format, ("channels_first", "channels_last"))
        check.floating_dtype("mu_dtype", self.mu_dtype, check.MU_DTYPES)
        check.floating_dtype("precond_dtype", self.precond_dtype, PRECOND_DTYPES)

    @property
    def rates(self) -> Rates:
        """The numbers of a step; ``shampoo_beta`` is ``b2`` where it was not given."""
        own = self.b2 if self.shampoo_beta is None else self.shampoo_beta
        return Rates(self.b1, self.b2, own, self.eps)

    @property
    def sides(self) -> Sides:
        """What decides which axes have factors."""
        return Sides(
            int(self.max_precond_dim),
            self.merge_dims,
            self.precondition_1d,
            self.one_sided,
            self.data_format,
        )
