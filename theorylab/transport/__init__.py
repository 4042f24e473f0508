"""Entropic optimal transport that converges, with derivatives.

:func:`solve` for any costs: a matrix, or a :class:`PointCloud`.
"""

from theorylab.transport._costs import PointCloud as PointCloud
from theorylab.transport._results import History as History
from theorylab.transport._results import Solution as Solution
from theorylab.transport._results import Status as Status
from theorylab.transport._solve import solve as solve
