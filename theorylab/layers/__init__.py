"""The record tree of a network: constructors, ``init``, ``apply``. No kernel mathematics."""

from theorylab.layers._activations import ABRelu as ABRelu
from theorylab.layers._activations import Abs as Abs
from theorylab.layers._activations import Activation as Activation
from theorylab.layers._activations import Cos as Cos
from theorylab.layers._activations import Erf as Erf
from theorylab.layers._activations import Gelu as Gelu
from theorylab.layers._activations import LeakyRelu as LeakyRelu
from theorylab.layers._activations import Rbf as Rbf
from theorylab.layers._activations import Relu as Relu
from theorylab.layers._activations import Sin as Sin
from theorylab.layers._base import Layer as Layer
from theorylab.layers._combinators import FanInSum as FanInSum
from theorylab.layers._combinators import FanOut as FanOut
from theorylab.layers._combinators import Identity as Identity
from theorylab.layers._combinators import Parallel as Parallel
from theorylab.layers._combinators import Serial as Serial
from theorylab.layers._combinators import parallel as parallel
from theorylab.layers._combinators import serial as serial
from theorylab.layers._dense import Dense as Dense
