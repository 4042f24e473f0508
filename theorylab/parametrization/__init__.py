"""How weights, rates and multipliers must depend on the width: theory, practice, transfer."""

from theorylab.parametrization import plots as plots
from theorylab.parametrization._abc import ABC as ABC
from theorylab.parametrization._abc import MFP as MFP
from theorylab.parametrization._abc import MUP as MUP
from theorylab.parametrization._abc import NTP as NTP
from theorylab.parametrization._abc import SP as SP
from theorylab.parametrization._base_shapes import load_base_shapes as load_base_shapes
from theorylab.parametrization._base_shapes import save_base_shapes as save_base_shapes
from theorylab.parametrization._coord_check import Table as Table
from theorylab.parametrization._coord_check import coord_check as coord_check
from theorylab.parametrization._gauge import regauge as regauge
from theorylab.parametrization._infer import infer_specs as infer_specs
from theorylab.parametrization._infer import infer_specs_from_init as infer_specs_from_init
from theorylab.parametrization._layer_tree import layer_specs as layer_specs
from theorylab.parametrization._lr_sweep import Sweep as Sweep
from theorylab.parametrization._lr_sweep import drift as drift
from theorylab.parametrization._lr_sweep import lr_sweep as lr_sweep
from theorylab.parametrization._mlp import AbcMlp as AbcMlp
from theorylab.parametrization._mlp import abc_mlp as abc_mlp
from theorylab.parametrization._mlp import abc_rates as abc_rates
from theorylab.parametrization._multipliers import attention_scale as attention_scale
from theorylab.parametrization._multipliers import residual_multiplier as residual_multiplier
from theorylab.parametrization._regime import Regime as Regime
from theorylab.parametrization._regime import classify as classify
from theorylab.parametrization._regime import r_exponent as r_exponent
from theorylab.parametrization._rules import Rule as Rule
from theorylab.parametrization._scales import LeafScale as LeafScale
from theorylab.parametrization._scales import leaf_scales as leaf_scales
from theorylab.parametrization._slopes import Slopes as Slopes
from theorylab.parametrization._slopes import slopes as slopes
from theorylab.parametrization._spec import AxisRoles as AxisRoles
from theorylab.parametrization._spec import LeafSpec as LeafSpec
from theorylab.parametrization._spectral_check import Spectral as Spectral
from theorylab.parametrization._spectral_check import spectral_check as spectral_check
from theorylab.parametrization._transform import (
    scale_by_parametrization as scale_by_parametrization,
)
from theorylab.parametrization._transform import scale_gradients as scale_gradients
from theorylab.parametrization._weights import apply_multipliers as apply_multipliers
from theorylab.parametrization._weights import rescale_init as rescale_init
