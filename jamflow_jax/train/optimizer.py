"""AdamW as F5-TTS trains: clip by the global norm, warm-up from next to nothing, then decay.

    (1)  g <- g min(1, clip / |g|),   |g| over all streams that are trained
    (2)  theta <- theta - m_s lr(n) (adam(g) + weight_decay theta),   m_s the multiplier of the stream
    (3)  lr(n): 1e-8 lr -> lr over `warmup` updates, then -> final_lr lr over the rest

Weight decay falls on every parameter, biases and gains too, as torch's AdamW does with F5-TTS's one parameter group.
A stream with multiplier 0 never gets here: its parameters are not in the tree that is differentiated (see step.py).
"""
import jax
import jax.numpy as jnp
import optax

from jamflow_jax.train.config import OptimConfig

START = 1e-8  # of the rate, at update 0


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate (3) of update n = 0, 1, ... in a run of `steps`."""
    rest = max(1, steps - config.warmup)
    decay = {
        "linear": optax.linear_schedule(config.lr, config.lr * config.final_lr, rest),
        "cosine": optax.cosine_decay_schedule(config.lr, rest, config.final_lr),
        "constant": optax.constant_schedule(config.lr),
    }[config.decay]
    if not config.warmup:
        return decay

    def warmup(count):  # optax's own would round its start to 0
        return config.lr * (START + (1 - START) * count / config.warmup)

    return optax.join_schedules([warmup, decay], [config.warmup])


def multipliers(config: OptimConfig) -> dict[str, float]:
    """Learning-rate multiplier of each stream."""
    return {"audio": config.audio_lr, "motion": config.motion_lr}


def optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """(1) to (3), for a tree {stream: parameters}."""
    return optax.chain(
        _clip(config.clip),
        optax.scale_by_adam(*config.betas),
        optax.add_decayed_weights(config.weight_decay),
        _per_stream(multipliers(config)),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )


def _clip(limit: float) -> optax.GradientTransformation:
    """(1). optax's own divides every number by the norm, which XLA on CPUs does in a pass of its own over all parameters."""
    def scale(updates, params=None):
        factor = jnp.minimum(1.0, limit / optax.global_norm(updates))
        return jax.tree.map(lambda u: u * factor, updates)

    return optax.stateless(scale)


def _per_stream(factors: dict[str, float]) -> optax.GradientTransformation:
    def scale(updates, params=None):
        return {stream: jax.tree.map(lambda u: factors[stream] * u, tree) for stream, tree in updates.items()}  # noqa: B023

    return optax.stateless(scale)
