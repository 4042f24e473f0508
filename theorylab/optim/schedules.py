"""Learning rates by theory, and a law of the loss in them, beside the schedules that optax has.

Constant, cosine, linear and warm-up-stable-decay schedules are ``optax.constant_schedule``,
``optax.warmup_cosine_decay_schedule``, ``optax.linear_schedule`` and ``optax.join_schedules``.
"""

from theorylab.optim._annealing import annealing_areas as annealing_areas
from theorylab.optim._annealing_fit import fit_annealing_law as fit_annealing_law
from theorylab.optim._annealing_law import AnnealingLaw as AnnealingLaw
from theorylab.optim._annealing_law import Curve as Curve
from theorylab.optim._annealing_law import Status as Status
from theorylab.optim._refined import Refined as Refined
from theorylab.optim._refined import refined as refined
