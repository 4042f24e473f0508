"""Optimizers whose theory is known, as plain optax transformations.

- :func:`soap`: Adam in the eigenbasis of Shampoo's preconditioner; :func:`soap_memory` and
  :func:`soap_flops` say what it will cost, :func:`soap_blocks` loops over it without a condition.
- :func:`lion_k`: Lion, Muon, and all others that a convex function of :mod:`kappas` makes;
  :func:`objective` and :func:`lyapunov` say what each minimises, and what falls on the way.
- :mod:`schedules`: rates from the gradient norms of a run, and losses from rates.
"""

from theorylab.optim import kappas as kappas
from theorylab.optim import schedules as schedules
from theorylab.optim._lion_k import ScaleByLionKState as ScaleByLionKState
from theorylab.optim._lion_k import lion_k as lion_k
from theorylab.optim._lion_k import scale_by_lion_k as scale_by_lion_k
from theorylab.optim._lyapunov import Lyapunov as Lyapunov
from theorylab.optim._lyapunov import lyapunov as lyapunov
from theorylab.optim._objective import objective as objective
from theorylab.optim._soap import scale_by_soap as scale_by_soap
from theorylab.optim._soap import soap as soap
from theorylab.optim._soap_blocks import SoapBlocks as SoapBlocks
from theorylab.optim._soap_blocks import soap_blocks as soap_blocks
from theorylab.optim._soap_costs import SoapFlops as SoapFlops
from theorylab.optim._soap_costs import SoapMemory as SoapMemory
from theorylab.optim._soap_costs import soap_flops as soap_flops
from theorylab.optim._soap_costs import soap_memory as soap_memory
from theorylab.optim._soap_layout import soap_bases as soap_bases
from theorylab.optim._soap_layout import soap_sharding as soap_sharding
from theorylab.optim._soap_layout import soap_with_bases as soap_with_bases
from theorylab.optim._soap_layout import state_axes as state_axes
from theorylab.optim._soap_parts import ScaleBySoapState as ScaleBySoapState
