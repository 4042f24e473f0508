"""Scalar maps of the activations, one family per file; importing this registers them."""

from theorylab.kernels.duals._base import Homogeneous as Homogeneous
from theorylab.kernels.duals._base import Smooth as Smooth
from theorylab.kernels.duals._base import SmoothPair as SmoothPair
from theorylab.kernels.duals._base import dual as dual
from theorylab.kernels.duals._error_function import error_function as error_function
from theorylab.kernels.duals._gelu import GELU as GELU
from theorylab.kernels.duals._piecewise_linear import piecewise_linear as piecewise_linear
from theorylab.kernels.duals._trigonometric import sinusoid as sinusoid
