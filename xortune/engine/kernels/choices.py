"""Which activation, loss and optimizer a pass computes with: by number, outside its loops.

The numbers of the names are in `xortune.engine.fused` and `xortune.engine.schedule`.
"""

from __future__ import annotations

from numba import njit

from xortune.engine.kernels import activations, losses, optimizers
from xortune.engine.kernels.functions import INLINE
from xortune.engine.kernels.passes import forward_of, forward_softmax, loss_of, step_of

__all__ = ["forward", "loss_pass", "step"]

forward_identity = forward_of(activations.identity)
forward_elu = forward_of(activations.elu)
forward_gelu = forward_of(activations.gelu)
forward_hardshrink = forward_of(activations.hardshrink)
forward_hardsigmoid = forward_of(activations.hardsigmoid)
forward_hardswish = forward_of(activations.hardswish)
forward_hardtanh = forward_of(activations.hardtanh)
forward_leaky_relu = forward_of(activations.leaky_relu)
forward_log_sigmoid = forward_of(activations.log_sigmoid)
forward_mish = forward_of(activations.mish)
forward_relu = forward_of(activations.relu)
forward_relu6 = forward_of(activations.relu6)
forward_selu = forward_of(activations.selu)
forward_silu = forward_of(activations.silu)
forward_logistic = forward_of(activations.logistic)
forward_softplus_20 = forward_of(activations.softplus_20)
forward_softshrink = forward_of(activations.softshrink)
forward_softsign = forward_of(activations.softsign)
forward_hyperbolic = forward_of(activations.hyperbolic)
forward_tanhshrink = forward_of(activations.tanhshrink)

loss_bce = loss_of(losses.bce)
loss_bce_with_logits = loss_of(losses.bce_with_logits)
loss_hinge_embedding = loss_of(losses.hinge_embedding)
loss_kl_div = loss_of(losses.kl_div)
loss_l1 = loss_of(losses.l1)
loss_mse = loss_of(losses.mse)
loss_poisson_nll = loss_of(losses.poisson_nll)
loss_smooth_l1 = loss_of(losses.smooth_l1)
loss_soft_margin = loss_of(losses.soft_margin)

step_sgd = step_of(optimizers.sgd, states=0)
step_sgd_momentum = step_of(optimizers.sgd_momentum, states=1)
step_adadelta = step_of(optimizers.adadelta, states=2)
step_adagrad = step_of(optimizers.adagrad, states=1)
step_adam = step_of(optimizers.adam, states=2)
step_adamax = step_of(optimizers.adamax, states=2)
step_asgd = step_of(optimizers.asgd, states=0)
step_nadam = step_of(optimizers.nadam, states=2)
step_radam = step_of(optimizers.radam, states=2)
step_rmsprop = step_of(optimizers.rmsprop, states=1)
step_rmsprop_momentum = step_of(optimizers.rmsprop_momentum, states=2)
step_rprop = step_of(optimizers.rprop, states=2)


@njit(**INLINE)
def forward(block, inputs, activation):
    """The forward pass of that activation."""
    if activation == 0:
        forward_identity(block, inputs)
    elif activation == 1:
        forward_elu(block, inputs)
    elif activation == 2:
        forward_gelu(block, inputs)
    elif activation == 3:
        forward_hardshrink(block, inputs)
    elif activation == 4:
        forward_hardsigmoid(block, inputs)
    elif activation == 5:
        forward_hardswish(block, inputs)
    elif activation == 6:
        forward_hardtanh(block, inputs)
    elif activation == 7:
        forward_leaky_relu(block, inputs)
    elif activation == 8:
        forward_log_sigmoid(block, inputs)
    elif activation == 9:
        forward_mish(block, inputs)
    elif activation == 10:
        forward_relu(block, inputs)
    elif activation == 11:
        forward_relu6(block, inputs)
    elif activation == 12:
        forward_selu(block, inputs)
    elif activation == 13:
        forward_silu(block, inputs)
    elif activation == 14:
        forward_logistic(block, inputs)
    elif activation == 15:
        forward_softplus_20(block, inputs)
    elif activation == 16:
        forward_softshrink(block, inputs)
    elif activation == 17:
        forward_softsign(block, inputs)
    elif activation == 18:
        forward_hyperbolic(block, inputs)
    elif activation == 19:
        forward_tanhshrink(block, inputs)
    else:
        forward_softmax(block, inputs, activation - 20)


@njit(**INLINE)
def loss_pass(block, rows, needed, epoch, loss):
    """The loss pass of that loss."""
    if loss == 0:
        loss_bce(block, rows, needed, epoch)
    elif loss == 1:
        loss_bce_with_logits(block, rows, needed, epoch)
    elif loss == 2:
        loss_hinge_embedding(block, rows, needed, epoch)
    elif loss == 3:
        loss_kl_div(block, rows, needed, epoch)
    elif loss == 4:
        loss_l1(block, rows, needed, epoch)
    elif loss == 5:
        loss_mse(block, rows, needed, epoch)
    elif loss == 6:
        loss_poisson_nll(block, rows, needed, epoch)
    elif loss == 7:
        loss_smooth_l1(block, rows, needed, epoch)
    else:
        loss_soft_margin(block, rows, needed, epoch)


@njit(**INLINE)
def step(block, used, a, b, c, optimizer):
    """The step of that optimizer."""
    if optimizer == 0:
        step_sgd(block, used, a, b, c)
    elif optimizer == 1:
        step_sgd_momentum(block, used, a, b, c)
    elif optimizer == 2:
        step_adadelta(block, used, a, b, c)
    elif optimizer == 3:
        step_adagrad(block, used, a, b, c)
    elif optimizer == 4:
        step_adam(block, used, a, b, c)
    elif optimizer == 5:
        step_adamax(block, used, a, b, c)
    elif optimizer == 6:
        step_asgd(block, used, a, b, c)
    elif optimizer == 7:
        step_nadam(block, used, a, b, c)
    elif optimizer == 8:
        step_radam(block, used, a, b, c)
    elif optimizer == 9:
        step_rmsprop(block, used, a, b, c)
    elif optimizer == 10:
        step_rmsprop_momentum(block, used, a, b, c)
    else:
        step_rprop(block, used, a, b, c)
