"""From kernels to predictions: what training does, what a posterior says, how good a kernel is.

- Networks trained by gradients: :func:`gradient_flow` and :func:`gradient_steps` in closed form on
  the squared loss, :func:`gradient_descent` on any loss, :func:`max_learning_rate`; trained again
  on their own predictions, :func:`self_distillation` and :func:`distillation_weights`.
- Bayesian networks: :func:`posterior`, a Gaussian process; with a random variance of the last layer
  :func:`student_t_posterior` in closed form and :func:`scale_mixture_posterior` by sampling.
- How good a kernel is for given targets: :func:`log_marginal_likelihood`, :func:`evidence` (the
  same with a report), :func:`leave_one_out`, :func:`leave_one_out_posterior`.

Kernels are arrays, or anything with the fields ``nngp`` and ``ntk``; nothing here knows of layers.
Of a pair, what is trained uses the NTK (and has a ``ridge``), what is Bayesian the NNGP (and has a
``noise``). Values never raise: results carry a :class:`Status`, and the jitter that was needed.
"""

from theorylab.predict._distillation_weights import DistillationWeights as DistillationWeights
from theorylab.predict._distillation_weights import distillation_weights as distillation_weights
from theorylab.predict._evidence import Evidence as Evidence
from theorylab.predict._evidence import evidence as evidence
from theorylab.predict._evidence import log_marginal_likelihood as log_marginal_likelihood
from theorylab.predict._gradient_descent import GradientDescent as GradientDescent
from theorylab.predict._gradient_descent import gradient_descent as gradient_descent
from theorylab.predict._gradient_flow import GradientFlow as GradientFlow
from theorylab.predict._gradient_flow import gradient_flow as gradient_flow
from theorylab.predict._gradient_steps import GradientSteps as GradientSteps
from theorylab.predict._gradient_steps import gradient_steps as gradient_steps
from theorylab.predict._integrate import DescentState as DescentState
from theorylab.predict._learning_rate import max_learning_rate as max_learning_rate
from theorylab.predict._leave_one_out import LeaveOneOut as LeaveOneOut
from theorylab.predict._leave_one_out import leave_one_out as leave_one_out
from theorylab.predict._leave_one_out import leave_one_out_posterior as leave_one_out_posterior
from theorylab.predict._posterior import posterior as posterior
from theorylab.predict._results import Prediction as Prediction
from theorylab.predict._results import Status as Status
from theorylab.predict._scale_mixture import ScaleMixture as ScaleMixture
from theorylab.predict._scale_mixture import scale_mixture_posterior as scale_mixture_posterior
from theorylab.predict._self_distillation import Distillation as Distillation
from theorylab.predict._self_distillation import self_distillation as self_distillation
from theorylab.predict._student_t import StudentT as StudentT
from theorylab.predict._student_t import student_t_posterior as student_t_posterior
