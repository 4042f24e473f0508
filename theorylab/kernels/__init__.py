"""Kernels of infinitely wide networks: NNGP and NTK, exact in float32 too.

Every layer constructor is reachable from here, so that one import serves:

>>> import theorylab.kernels as tk
>>> net = tk.serial(tk.Dense(512, W_std=1.4, b_std=0.1), tk.Relu(), tk.Dense(1))
"""

from theorylab.kernels import _affine as _affine
from theorylab.kernels import _branches as _branches
from theorylab.kernels import _combine as _combine
from theorylab.kernels import _convolution as _convolution
from theorylab.kernels import _elementwise as _elementwise
from theorylab.kernels import _norm as _norm
from theorylab.kernels import _pool as _pool
from theorylab.kernels import _reshape as _reshape
from theorylab.kernels._door import kernel as kernel
from theorylab.kernels._input import input_state as input_state
from theorylab.kernels._plan import LayerPlan as LayerPlan
from theorylab.kernels._plan import Plan as Plan
from theorylab.kernels._plan import plan as plan
from theorylab.kernels._propagate import propagate as propagate
from theorylab.kernels._state import Kernel as Kernel
from theorylab.kernels._state import KernelState as KernelState
from theorylab.kernels._state import Layout as Layout
from theorylab.kernels._state import LogScale as LogScale
from theorylab.kernels._state import Rows as Rows
from theorylab.layers import GRU as GRU
from theorylab.layers import LSTM as LSTM
from theorylab.layers import RNN as RNN
from theorylab.layers import ABRelu as ABRelu
from theorylab.layers import Abs as Abs
from theorylab.layers import AvgPool as AvgPool
from theorylab.layers import BatchNorm as BatchNorm
from theorylab.layers import Conv as Conv
from theorylab.layers import Cos as Cos
from theorylab.layers import Dense as Dense
from theorylab.layers import Erf as Erf
from theorylab.layers import FanInConcat as FanInConcat
from theorylab.layers import FanInProd as FanInProd
from theorylab.layers import FanInSum as FanInSum
from theorylab.layers import FanOut as FanOut
from theorylab.layers import Flatten as Flatten
from theorylab.layers import Gelu as Gelu
from theorylab.layers import GlobalAvgPool as GlobalAvgPool
from theorylab.layers import GlobalMaxPool as GlobalMaxPool
from theorylab.layers import GlobalSumPool as GlobalSumPool
from theorylab.layers import Identity as Identity
from theorylab.layers import Layer as Layer
from theorylab.layers import LayerNorm as LayerNorm
from theorylab.layers import LeakyRelu as LeakyRelu
from theorylab.layers import LogSoftmax as LogSoftmax
from theorylab.layers import MaxPool as MaxPool
from theorylab.layers import Rbf as Rbf
from theorylab.layers import Relu as Relu
from theorylab.layers import SharedWeights as SharedWeights
from theorylab.layers import Sin as Sin
from theorylab.layers import Softmax as Softmax
from theorylab.layers import SumPool as SumPool
from theorylab.layers import parallel as parallel
from theorylab.layers import repeat as repeat
from theorylab.layers import serial as serial
