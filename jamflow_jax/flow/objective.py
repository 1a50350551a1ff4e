"""The training objective (under construction)."""
from jamflow_jax.flow.config import ObjectiveConfig

__all__ = ["ObjectiveConfig"]
