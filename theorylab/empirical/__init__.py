"""Finite networks: their tangent and function kernels, their averages, and their expansions.

Everything works on any JAX function ``f(params, x)``, whichever library made it.
"""

from theorylab.empirical._explain import Info as Info
from theorylab.empirical._explain import explain as explain
from theorylab.empirical._linearize import linearize as linearize
from theorylab.empirical._monte_carlo import Estimate as Estimate
from theorylab.empirical._monte_carlo import monte_carlo as monte_carlo
from theorylab.empirical._nngp import nngp as nngp
from theorylab.empirical._ntk import ntk as ntk
from theorylab.empirical._taylor import taylor_expand as taylor_expand
from theorylab.empirical._vector_product import ntk_vp as ntk_vp
