"""Training in random subspaces, the intrinsic dimension, and what follows from it."""

from theorylab.subspace._bounds import code_kl as code_kl
from theorylab.subspace._bounds import occam_bound as occam_bound
from theorylab.subspace._bounds import pac_bayes_bound as pac_bayes_bound
from theorylab.subspace._checkpoint import load as load
from theorylab.subspace._checkpoint import save as save
from theorylab.subspace._compress import compress as compress
from theorylab.subspace._compress import decompress as decompress
from theorylab.subspace._dense import dense_gaussian as dense_gaussian
from theorylab.subspace._dense import dense_rademacher as dense_rademacher
from theorylab.subspace._description import DescriptionLength as DescriptionLength
from theorylab.subspace._description import description_length as description_length
from theorylab.subspace._description import solution_bits as solution_bits
from theorylab.subspace._dint import Dint as Dint
from theorylab.subspace._dint import dint as dint
from theorylab.subspace._dint_both import BothDints as BothDints
from theorylab.subspace._dint_both import dint_both as dint_both
from theorylab.subspace._escape import EscapeThreshold as EscapeThreshold
from theorylab.subspace._escape import escape_probability as escape_probability
from theorylab.subspace._escape import escape_threshold as escape_threshold
from theorylab.subspace._escape import (
    escape_threshold_at_distance as escape_threshold_at_distance,
)
from theorylab.subspace._fastfood import fastfood as fastfood
from theorylab.subspace._hadamard import hadamard as hadamard
from theorylab.subspace._kron import kron as kron
from theorylab.subspace._orthogonal import lottery as lottery
from theorylab.subspace._orthogonal import orthogonal as orthogonal
from theorylab.subspace._projection import Projection as Projection
from theorylab.subspace._quantise import Quantised as Quantised
from theorylab.subspace._quantise import compressed_bits as compressed_bits
from theorylab.subspace._quantise import quantise as quantise
from theorylab.subspace._random_bases import random_bases as random_bases
from theorylab.subspace._random_bases import redraw as redraw
from theorylab.subspace._record import rebuild as rebuild
from theorylab.subspace._record import record as record
from theorylab.subspace._rotation import rotation as rotation
from theorylab.subspace._said import Said as Said
from theorylab.subspace._said import said as said
from theorylab.subspace._sketch import sketch as sketch
from theorylab.subspace._sparse import sparse as sparse
from theorylab.subspace._sweep import Pieces as Pieces
from theorylab.subspace._sweep import sweep as sweep
from theorylab.subspace._sweep import sweep_pieces as sweep_pieces
from theorylab.subspace._training import init as init
from theorylab.subspace._training import lr_scale as lr_scale
from theorylab.subspace._training import project as project
from theorylab.subspace._training import wrap as wrap
