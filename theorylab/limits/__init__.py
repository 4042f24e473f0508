"""Limits of infinite width in which features are learned, computed."""

from theorylab.limits._conditioned_mlp import conditioned_mlp as conditioned_mlp
from theorylab.limits._conditioned_state import ConditionedInfo as ConditionedInfo
from theorylab.limits._conditioned_state import ConditionedState as ConditionedState
from theorylab.limits._deep_linear_mup import deep_linear_mup as deep_linear_mup
from theorylab.limits._deep_linear_state import DeepLinearInfo as DeepLinearInfo
from theorylab.limits._deep_linear_state import DeepLinearState as DeepLinearState
from theorylab.limits._deep_linear_state import deep_linear_capacity as deep_linear_capacity
from theorylab.limits._finite import finite_width_like as finite_width_like
from theorylab.limits._finite import optimizer_like as optimizer_like
from theorylab.limits._limit import Limit as Limit
from theorylab.limits._limit import Status as Status
from theorylab.limits._linear_gram import linear_gram as linear_gram
from theorylab.limits._linear_mup import linear_mup as linear_mup
from theorylab.limits._linear_state import LinearInfo as LinearInfo
from theorylab.limits._linear_state import LinearState as LinearState
from theorylab.limits._maml import maml_step as maml_step
from theorylab.limits._mean_field import mean_field as mean_field
from theorylab.limits._mean_field_state import MeanFieldInfo as MeanFieldInfo
from theorylab.limits._mean_field_state import MeanFieldState as MeanFieldState
from theorylab.limits._order_parameters import Features as Features
from theorylab.limits._order_parameters import Kernels as Kernels
from theorylab.limits._order_parameters import features as features
from theorylab.limits._order_parameters import kernels as kernels
