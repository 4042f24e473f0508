"""Entropic optimal transport that converges, with derivatives.

:func:`solve` for any costs: a matrix, a :class:`PointCloud`, a :class:`Grid`; built on it,
:func:`divergence` of clouds, :func:`barycenter` of densities, :func:`coupling` for flow matching.
"""

from theorylab.transport._barycenter import Barycenter as Barycenter
from theorylab.transport._barycenter import barycenter as barycenter
from theorylab.transport._costs import PointCloud as PointCloud
from theorylab.transport._couplings import Coupling as Coupling
from theorylab.transport._couplings import coupling as coupling
from theorylab.transport._divergence import Divergence as Divergence
from theorylab.transport._divergence import divergence as divergence
from theorylab.transport._grid import Grid as Grid
from theorylab.transport._results import History as History
from theorylab.transport._results import Solution as Solution
from theorylab.transport._results import Status as Status
from theorylab.transport._solve import solve as solve
