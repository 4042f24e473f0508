"""Finite networks: their tangent and function kernels, their averages, and their linearization.

Everything works on any JAX function ``f(params, x)``, whichever library made it.
"""

from theorylab.empirical._linearize import linearize as linearize
from theorylab.empirical._monte_carlo import Estimate as Estimate
from theorylab.empirical._monte_carlo import monte_carlo as monte_carlo
from theorylab.empirical._nngp import nngp as nngp
from theorylab.empirical._ntk import ntk as ntk
