r"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson & Kakade (2024), "SOAP: Improving and
Stabilizing Shampoo using Adam". For a matrix G of gradients, :math:`L` and :math:`R` are averages
of :math:`G G^\top` and :math:`G^\top G`, :math:`Q_L` and :math:`Q_R` their eigenbases, and Adam
runs on :math:`Q_L^\top G Q_R`. What is done in which call:

- the first: L and R take the gradient, the bases are computed; moments stay zero. The parameters
  stay (``first_step="skip"``, the reference's) or make Adam's first step (``"adam"``);
- every later one: a step of Adam in the basis, then L and R take the gradient; in every f-th of
  these the bases follow (f: ``precondition_frequency``), m is turned into them and the entries of v
  go where their columns went.

Differs from the paper / reference (N. Vyas's PyTorch code, as of December 2024):
  1. m stays in the basis and is turned where the basis changes alone. The reference turns it out
     and back in every call, for the same result: 4 of 10 products of a step.
  2. ``first_step="adam"``, ``refresh``, ``one_sided="auto"``, ``mu_dtype``, ``precond_dtype`` are
     ours. In the first call gradient and basis come from one another: where the next gradient is
     the same (training on all data) its rotation is diagonal but for round-off, of which Adam in
     float32 makes steps of full size. ``"adam"`` moves the parameters first, along
     :math:`G / (|G| + \epsilon')`, so that the second gradient is another one.
  3. Moments and factors are float32 for parameters of less precision; the reference's moments have
     the gradient's dtype, and its factors and bases are float32 for float64 parameters as well.
  4. One counter for all leaves, so that the refresh is one condition; same-shaped factors are
     refreshed together.
  5. ``decay_order="optax"`` is the default: decay with the parameters before the step.
"""

import numbers
from typing import Any

import optax

from theorylab.optim import _arguments as check
from theorylab.optim._decay import decayed
from theorylab.optim._soap_options import MAX_PRECOND_DIM, Options
from theorylab.optim._soap_parts import ScaleBySoapState, parts


def scale_by_soap(
    b1: Any = 0.95,
    b2: Any = 0.95,
    eps: Any = 1e-8,
    *,
    shampoo_beta: Any = None,
    precondition_frequency: Any = 10,
    max_precond_dim: int = MAX_PRECOND_DIM,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    normalize_grads: bool = False,
    correct_bias: bool = True,
    one_sided: bool | str = False,
    refresh: str = "qr",
    first_step: str = "skip",
    mu_dtype: Any = None,
    precond_dtype: Any = None,
    data_format: str = "channels_first",
) -> optax.GradientTransformationExtraArgs:
    r"""Scale gradients as SOAP does: Adam in the eigenbasis of Shampoo's preconditioner.

    .. math::

        G' = Q_L^\top G Q_R, \quad m \leftarrow \beta_1 m + (1 - \beta_1) G', \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) G'^2, \quad
        U = \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \, Q_L \frac{m}{\sqrt v + \epsilon} Q_R^\top,

    then :math:`L \leftarrow \beta_s L + (1 - \beta_s) G G^\top`, R likewise, and where t is a
    multiple of f, :math:`Q_L \leftarrow \mathrm{qr}(L Q_L)`, columns sorted by
    :math:`\mathrm{diag}(Q_L^\top L Q_L)`, v with them. Tensors have one factor for each axis.

    Parameters
    ----------
    b1, b2
        Decay of m and v, in [0, 1).
    eps
        :math:`\epsilon`, added to :math:`\sqrt v` before the correction of bias.
    shampoo_beta
        Decay of the factors. None: ``b2``.
    precondition_frequency
        f: the calls from one refresh to the next, whole. May be traced.
    max_precond_dim
        An axis longer than this has no factor. Decides shapes: a Python integer.
    merge_dims
        Merge neighbouring axes as long as their product does not pass ``max_precond_dim``.
    precondition_1d
        Whether vectors have a factor. If not, Adam (the first call skipped like the others').
    normalize_grads
        Scale the direction of each leaf to root mean square 1, before the correction of bias.
    correct_bias
        Adam's correction, :math:`\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)`; t = 1 in the second call.
    one_sided
        False: every axis that is short enough. ``"auto"``: of matrices that are not square the
        shorter side alone.
    refresh
        How a basis follows: ``"qr"`` (one step of orthogonal iteration), ``"cholqr"`` (the same by
        Cholesky factors, products and triangular solves alone), ``"eigh"`` (the eigenvectors).
    first_step
        What the first call does to the parameters: ``"skip"`` (nothing) or ``"adam"``.
    mu_dtype
        How m is stored: bfloat16, float16, float32, float64. None: ``precond_dtype``.
    precond_dtype
        Dtype of v, of the factors and of all products: float32 or float64. None: float32, or
        float64 for float64 parameters.
    data_format
        ``"channels_last"``: a tensor of four axes is read as (0, 3, 1, 2) before axes are merged.
        Nothing without ``merge_dims``.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        ``init(params) -> ScaleBySoapState``; ``update(gradients, state) -> (updates, state)``.
        Updates have the gradients' dtypes, and are not yet multiplied with a learning rate.

    Raises
    ------
    ValueError
        If an option is outside what it may be; if gradients have another tree or other shapes than
        the parameters that ``init`` was given; if a state comes from other options.
    TypeError
        If a leaf is not real and floating (the message names its path), or an option is of the
        wrong kind.

    Notes
    -----
    Cost: :func:`soap_flops`, :func:`soap_memory`. Under ``vmap`` over seeds or learning rates keep
    the counter without a batch axis, or the refresh runs in every call: :func:`state_axes`.
    Derivatives, in a rate say, go forward (``jax.jvp``, ``jax.jacfwd``), not backward, on CPUs.
    With bfloat16 parameters ``optax.inject_hyperparams`` rounds ``b2`` to bfloat16, which makes 1
    of 0.999: pass ``hyperparam_dtype=jnp.float32``. Scalars and empty leaves have no factors. One
    gradient that is not finite makes factors NaN for good: wrap the optimizer in
    ``optax.apply_if_finite``.

    float32: within 5e-6 of float64 after 31 calls at rate 3e-3 for gradients of full rank. Where
    the first gradient has less rank than an axis is long, the eigenvectors of the factor's kernel
    are arbitrary, and with them the run: no two machines need agree.

    Source: Vyas et al. (2024), arXiv:2409.11321, and the authors' code where they differ.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import optim
    >>> tx = optim.scale_by_soap(first_step="adam")
    >>> state = tx.init(jnp.zeros((2, 2)))
    >>> update, state = tx.update(jnp.array([[2.0, -1.0], [0.5, 0.0]]), state)
    >>> update.round(3).tolist()
    [[1.0, -1.0], [1.0, 0.0]]
    """
    made = parts(
        Options(
            b1=b1,
            b2=b2,
            eps=eps,
            shampoo_beta=shampoo_beta,
            precondition_frequency=precondition_frequency,
            max_precond_dim=max_precond_dim,
            merge_dims=merge_dims,
            precondition_1d=precondition_1d,
            normalize_grads=normalize_grads,
            correct_bias=correct_bias,
            one_sided=one_sided,
            refresh=refresh,
            first_step=first_step,
            mu_dtype=mu_dtype,
            precond_dtype=precond_dtype,
            data_format=data_format,
        )
    )

    def update(
        updates: Any, state: ScaleBySoapState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleBySoapState]:
        del params, extra
        return made.update(updates, state)

    return optax.GradientTransformationExtraArgs(made.init, update)


def soap(
    learning_rate: Any,
    b1: Any = 0.95,
    b2: Any = 0.95,
    eps: Any = 1e-8,
    weight_decay: Any = 0.01,
    *,
    shampoo_beta: Any = None,
    precondition_frequency: Any = 10,
    max_precond_dim: int = MAX_PRECOND_DIM,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    normalize_grads: bool = False,
    correct_bias: bool = True,
    decay_order: str = "optax",
    one_sided: bool | str = False,
    refresh: str = "qr",
    first_step: str = "skip",
    mu_dtype: Any = None,
    precond_dtype: Any = None,
    mask: Any = None,
    data_format: str = "channels_first",
) -> optax.GradientTransformationExtraArgs:
    r"""SOAP with decoupled weight decay.

    Parameters
    ----------
    learning_rate
        :math:`\eta`, a number or a schedule of the number of calls before.
    weight_decay
        :math:`\lambda \ge 0`, a number or a schedule.
    decay_order
        ``"optax"``: :math:`x \leftarrow x - \eta (U + \lambda x)`. ``"reference"``:
        :math:`x \leftarrow (1 - \eta\lambda)(x - \eta U)`, which differs by
        :math:`\eta^2 \lambda U`. A first call that is skipped decays nothing.
    mask
        Which leaves decay: a tree of booleans, or a function of the parameters that gives one.
        None: all.
    b1 and all others
        As in :func:`scale_by_soap`.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        ``update`` needs the parameters where ``weight_decay`` is not 0.

    Raises
    ------
    ValueError, TypeError
        As :func:`scale_by_soap`; if the rate or the decay is negative; if ``update`` is called
        without the parameters.

    Notes
    -----
    What is minimised: f, without decay. With it no objective is known that the two together
    minimise, as with Adam. Limits, float32 and cost as in :func:`scale_by_soap`. Source: Vyas et
    al. (2024), arXiv:2409.11321; defaults of the authors' code, with optax's order of decay.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, optax
    >>> from theorylab import optim
    >>> tx = optim.soap(0.05, weight_decay=0.0)
    >>> w, a = jnp.ones((4, 3)), jax.random.normal(jax.random.key(0), (8, 4))
    >>> loss = lambda w: jnp.mean((a @ w) ** 2)
    >>> state, call = tx.init(w), jax.jit(tx.update)
    >>> for _ in range(100):
    ...     updates, state = call(jax.grad(loss)(w), state, w)
    ...     w = optax.apply_updates(w, updates)
    >>> bool(loss(w) < 0.2)
    True
    """
    check.not_negative("learning_rate", learning_rate, schedule=True)
    check.not_negative("weight_decay", weight_decay, schedule=True)
    check.one_of("decay_order", decay_order, ("optax", "reference"))
    check.weights_mask("mask", mask)
    scale = scale_by_soap(
        b1,
        b2,
        eps,
        shampoo_beta=shampoo_beta,
        precondition_frequency=precondition_frequency,
        max_precond_dim=max_precond_dim,
        merge_dims=merge_dims,
        precondition_1d=precondition_1d,
        normalize_grads=normalize_grads,
        correct_bias=correct_bias,
        one_sided=one_sided,
        refresh=refresh,
        first_step=first_step,
        mu_dtype=mu_dtype,
        precond_dtype=precond_dtype,
        data_format=data_format,
    )
    skip_first = first_step == "skip"
    return optax.chain(
        scale, *tail(learning_rate, weight_decay, decay_order, mask, skip_first=skip_first)
    )


def tail(
    learning_rate: Any, weight_decay: Any, decay_order: str, mask: Any, *, skip_first: bool
) -> list[optax.GradientTransformation]:
    """What follows the direction: decay and the rate, in the order that was asked for."""
    by_rate = optax.scale_by_learning_rate(learning_rate)
    if isinstance(weight_decay, numbers.Real) and weight_decay == 0:
        return [by_rate]
    after = decay_order == "reference"
    decay = decayed(weight_decay, skip_first=skip_first, after=after, learning_rate=learning_rate)
    if mask is not None:
        decay = optax.masked(decay, mask)
    return [by_rate, decay] if after else [decay, by_rate]
