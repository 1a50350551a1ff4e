"""One optimiser step, pure: (state, batch) -> (state, metrics). One compiled program per bucket and set of streams.

    1. draw spans, drops, times and noise of every example from (seed, step, example id)
    2. N_s = elements in the loss of stream s, over the whole batch: all devices, all microbatches
    3. for each microbatch: gradient of  sum_s w_s (squared error of s) / N_s;  the gradients add up to that of the whole batch
    4. clip, AdamW, EMA; or nothing at all if the gradient is not finite

Frozen streams (learning rate 0) are left out of the differentiated tree: no gradient is computed for them, none counts in the
clip, and their parameters are the same bits afterwards.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from jamflow_jax.flow import objective
from jamflow_jax.parallel.rules import BATCH_AXES, RULES
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.model_call import model_apply, objective_config, visible
from jamflow_jax.train.optimizer import optimizer, schedule
from jamflow_jax.train.state import TrainState, ema_decay, layout, trained_streams

Batch = dict[str, Array]
Metrics = dict[str, Float[Array, ""]]
EVALUATION_STEP = 2**31 - 1  # no training step: the draws of held-out examples are the same all through a run
_DROPOUT = 0x0D10  # role of the dropout key; the objective's roles count up from 0


def make_train_step(config: RunConfig, mesh: Mesh, live_mouth_D: np.ndarray) -> Callable[..., tuple[TrainState, Metrics]]:
    """The jitted step `(state, batch, streams) -> (state, metrics)`; the state is donated.

    Args:
      config: the run.
      mesh: enter it with `jax.set_mesh` around every call.
      live_mouth_D: mouth dimensions that move at all; the others are not in the loss.

    `streams` (static) names the streams the batch has at all: a batch of speech alone pays for no motion. Sums and counts of
    squared error come back apart, so that a mean over steps can weigh them.
    """
    goal = objective_config(config)
    rate = schedule(config.optim, config.steps)
    update = optimizer(config.optim, config.steps).update
    everywhere = NamedSharding(mesh, PartitionSpec())

    def train_step(state: TrainState, batch: Batch, streams: tuple[str, ...], seed: Int[Array, ""]):
        batch = visible(config, batch)
        trained = {stream: state.params[stream] for stream in trained_streams(config)}
        numbers = _counts(seed, goal, batch, state.step, live_mouth_D)

        def loss(trained, part):
            sums = _sums(config, seed, goal, {**state.params, **trained}, part, state.step, live_mouth_D, streams, training=True)
            return objective.total(goal, objective.mean_losses(sums, numbers)), sums

        (value, sums), gradient = _accumulate(jax.value_and_grad(loss, has_aux=True), trained, batch, config.optim.accumulate)
        norm = optax.global_norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        updates = state.step - state.skipped
        delta, opt_state = update(gradient, state.opt_state, trained)
        updated, before = (opt_state, optax.apply_updates(trained, delta)), (state.opt_state, trained)
        opt_state, moved = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, before)
        # of the parameters as they are kept: a CPU reads them instead of working the update out again
        share = 1 - ema_decay(config.optim.ema, updates)
        ema = jax.tree.map(lambda e, p: jnp.where(finite, e + share * (p - e), e), state.ema, moved)

        new = TrainState(
            step=state.step + 1,
            skipped=state.skipped + ~finite,
            skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
            params={**state.params, **moved}, ema=ema, opt_state=opt_state,
        )
        weight_B = jnp.asarray(batch["weight"], jnp.float32)
        metrics = {
            "loss": value, "grad_norm": norm, "lr": rate(updates), "frames": jnp.sum(weight_B * batch["length"]),
            "skipped": new.skipped, "skipped_in_a_row": new.skipped_in_a_row,
            **{f"{name}_sum": sums[name] for name in numbers}, **{f"{name}_count": numbers[name] for name in numbers},
        }
        return new, metrics

    places = layout(config, mesh)[1]
    step = jax.jit(_with_rules(train_step), static_argnums=2, donate_argnums=0, out_shardings=(places, everywhere))
    return Seeded(step, config.seed)


def make_evaluation_step(config: RunConfig, mesh: Mesh, live_mouth_D: np.ndarray) -> Callable[..., Metrics]:
    """The jitted `(params, batch, streams) -> sums and counts` with draws that never change, and without dropout."""
    goal = objective_config(config)

    def evaluate(params, batch: Batch, streams: tuple[str, ...], seed: Int[Array, ""]):
        batch = visible(config, batch)
        numbers = _counts(seed, goal, batch, EVALUATION_STEP, live_mouth_D)
        sums = _sums(config, seed, goal, params, batch, EVALUATION_STEP, live_mouth_D, streams, training=False)
        return {**{f"{name}_sum": sums[name] for name in numbers}, **{f"{name}_count": numbers[name] for name in numbers}}

    step = jax.jit(_with_rules(evaluate), static_argnums=2, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return Seeded(step, config.seed)


class Seeded:
    """A jitted step of `(..., streams)` with the run's seed as its last argument: runs that differ in it alone share a program."""

    def __init__(self, jitted, seed: int):
        self.jitted, self.seed = jitted, np.uint32(seed & 0xFFFFFFFF)  # as jax.random.key cuts it

    def __call__(self, *args):
        return self.jitted(*args, self.seed)

    def trace(self, *args):
        """Of `jax.jit`."""
        return self.jitted.trace(*args, self.seed)

    def lower(self, *args):
        """Of `jax.jit`."""
        return self.jitted.lower(*args, self.seed)


def _counts(seed, goal, batch, step, live_mouth_D):
    keys_B = objective.example_keys(seed, step, batch["example_id"])
    return objective.counts(objective.draw(goal, keys_B, batch), batch, live_mouth_D)


def _sums(config, seed, goal, params, batch, step, live_mouth_D, streams, training):
    keys_B = objective.example_keys(seed, step, batch["example_id"])
    noisy = training and max(config.model.audio.dropout, config.model.motion.dropout) > 0
    dropout_keys_B = jax.vmap(lambda key: jax.random.fold_in(key, _DROPOUT))(keys_B) if noisy else None
    drawn = objective.draw(goal, keys_B, batch)
    return objective.loss_sums(model_apply(config, batch, streams), params, drawn, batch, live_mouth_D, dropout_keys_B)


def _accumulate(value_and_grad, trained, batch: Batch, parts: int):
    """Sum of `value_and_grad` over microbatches. Example i goes to microbatch i mod parts: every device keeps its own."""
    if parts == 1:
        return value_and_grad(trained, batch)

    def cut(x):
        x = jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)
        return jax.lax.with_sharding_constraint(x, PartitionSpec(None, BATCH_AXES))

    def add(total, part):
        return jax.tree.map(jnp.add, total, value_and_grad(trained, part)), None

    pieces = jax.tree.map(cut, batch)
    first = jax.tree.map(lambda x: x[0], pieces)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(value_and_grad, trained, first))
    return jax.lax.scan(add, zeros, pieces)[0]


def _with_rules(function):
    def traced(*args):
        with nn.logical_axis_rules(RULES):
            return function(*args)

    return traced
