"""From kernels to predictions: gradient flow and descent in closed form, and posteriors.

Kernels are arrays, or anything with the fields ``nngp`` and ``ntk``; nothing here knows of layers.
"""

from theorylab.predict._gradient_flow import GradientFlow as GradientFlow
from theorylab.predict._gradient_flow import gradient_flow as gradient_flow
from theorylab.predict._gradient_steps import GradientSteps as GradientSteps
from theorylab.predict._gradient_steps import gradient_steps as gradient_steps
from theorylab.predict._posterior import posterior as posterior
from theorylab.predict._results import Prediction as Prediction
from theorylab.predict._results import Status as Status
