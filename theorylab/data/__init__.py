"""Real data sets: those that packages ship, and readers for the files that a user already has.

Nothing is downloaded, nothing is unpickled, and JAX is not imported: all arrays are NumPy's.
"""

from theorylab.data._bundled import digits as digits
from theorylab.data._bundled import mnist as mnist
from theorylab.data._cifar import cifar10 as cifar10
from theorylab.data._dataset import Dataset as Dataset
from theorylab.data._docstrings import Text as Text
from theorylab.data._docstrings import scipy_docstrings as scipy_docstrings
