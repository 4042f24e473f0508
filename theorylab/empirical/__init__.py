"""Finite networks: their tangent and function kernels, and their linearization.

Everything works on any JAX function ``f(params, x)``, whichever library made it.
"""

from theorylab.empirical._linearize import linearize as linearize
from theorylab.empirical._nngp import nngp as nngp
from theorylab.empirical._ntk import ntk as ntk
