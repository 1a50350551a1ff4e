"""Which logical axis of a parameter or an activation lies along which mesh axis: the only place that says so.

    data    copies of the model, each with its own examples
    fsdp    examples too, and every parameter cut along its `embed` axis: gathered layer by layer as it is used
    tensor  heads and hidden units of the feed-forward: one example's work shared by neighbouring devices
"""
import math
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

BATCH_AXES = ("data", "fsdp")
RULES: tuple[tuple[str, Any], ...] = (
    ("batch", BATCH_AXES),
    ("time", None),  # sequences are a few thousand frames: not worth cutting
    ("act_embed", None),
    ("layers", None),  # scanned over
    ("embed", "fsdp"),
    ("heads", "tensor"),
    ("head", None),
    ("mlp", "tensor"),
    ("adaln", "tensor"),
    ("vocab", None),
    ("text", "fsdp"),
    ("text_mlp", "tensor"),
)


def shardings(boxed: Any, mesh: Mesh) -> Any:
    """Where each array of a tree goes.

    Args:
      boxed: a tree of arrays or shapes; those boxed with logical names (`nn.with_logical_partitioning`) follow RULES, the others
        are replicated. An axis that its mesh axis does not divide is replicated as well.
      mesh: with the axes data, fsdp and tensor.

    Returns:
      NamedShardings in the shape of the unboxed tree.
    """
    wanted = nn.logical_to_mesh_sharding(nn.get_partition_spec(boxed), mesh, RULES)

    def fit(leaf, sharding: NamedSharding) -> NamedSharding:
        axes = tuple(sharding.spec) + (None,) * (leaf.ndim - len(sharding.spec))
        kept = [axis if size % _parts(mesh, axis) == 0 else None for size, axis in zip(leaf.shape, axes)]
        return NamedSharding(mesh, PartitionSpec(*kept))

    return jax.tree.map(fit, nn.unbox(boxed), wanted)


def _parts(mesh: Mesh, axis: str | tuple[str, ...] | None) -> int:
    names = () if axis is None else (axis,) if isinstance(axis, str) else axis
    return math.prod(mesh.shape[name] for name in names)
