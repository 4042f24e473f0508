r"""The convex functions K that make Lion-K, and what it minimises with each.

With :math:`\lambda` the weight decay, ``lion_k(learning_rate, kappa)`` minimises
:math:`f(x) + K^*(\lambda x) / \lambda`, leaf by leaf:

====================  =====================================  ===================================
kappa                 step along                             what is minimised
====================  =====================================  ===================================
``l1()``              sign                                   f in a box: Lion
``l2()``              normalised momentum                    f in a ball
``group(axis)``       normalised groups                      f in a ball for each group
``rows()``            normalised rows                        f in a ball for each row
``lp(p)``             between sign and normalised            f in an lq ball
``power(p)``          powers of the momentum                 f with an lq penalty, no constraint
``soft(e)``           sign, where momentum exceeds e         f with an l1 penalty in a box
``top_k(k)``          sign of the k largest                  f in a box with an l1 bound
``huber(e)``          clipped momentum                       f with an L2 penalty in a box
``relativistic(e)``   smooth sign                            f with a barrier at the box
``logcosh(b)``        tanh                                   f with an entropy at the box
``logsumexp()``       softmax                                f with an entropy on a simplex
``linf()``            sign of the largest                    f in an l1 ball
``nuclear()``         polar factor                           f in a spectral ball: Muon
``spectral()``        first singular pair                    f in a nuclear ball
====================  =====================================  ===================================

Each builds a :class:`Kappa` with value, subgradient, conjugate, and the gauge of the conjugate's
domain. They act on one array; the optimizer maps them over the leaves of a tree.
"""

from theorylab.optim._kappa import Kappa as Kappa
from theorylab.optim._kappas_elementwise import huber as huber
from theorylab.optim._kappas_elementwise import l1 as l1
from theorylab.optim._kappas_elementwise import logcosh as logcosh
from theorylab.optim._kappas_elementwise import power as power
from theorylab.optim._kappas_elementwise import relativistic as relativistic
from theorylab.optim._kappas_elementwise import soft as soft
from theorylab.optim._kappas_largest import linf as linf
from theorylab.optim._kappas_largest import logsumexp as logsumexp
from theorylab.optim._kappas_largest import top_k as top_k
from theorylab.optim._kappas_matrix import nuclear as nuclear
from theorylab.optim._kappas_matrix import spectral as spectral
from theorylab.optim._kappas_norms import group as group
from theorylab.optim._kappas_norms import l2 as l2
from theorylab.optim._kappas_norms import lp as lp
from theorylab.optim._kappas_norms import rows as rows
