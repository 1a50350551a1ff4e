"""Which logical axis of a parameter or an activation lies along which mesh axis: the only place that says so.

    data      copies of the model, each with its own examples
    fsdp      examples too, and every parameter cut along its `embed` axis: gathered layer by layer as it is used
    tensor    heads and hidden units of the feed-forward: one example's work shared by neighbouring devices
    sequence  frames of an example (long clips); parameters are whole on it, keys and values are gathered where rows attend
"""
import math
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

BATCH_AXES = ("data", "fsdp")
MATERIAL = 0.05  # of the parameters' bytes
RULES: tuple[tuple[str, Any], ...] = (
    ("batch", BATCH_AXES),
    ("time", "sequence"),
    ("keys", None),  # time of keys and values: every row may need any of them
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
      mesh: with the axes of `mesh.AXES`.

    Returns:
      NamedShardings in the shape of the unboxed tree.
    """
    wanted = nn.logical_to_mesh_sharding(nn.get_partition_spec(boxed), mesh, RULES)

    def fit(leaf, sharding: NamedSharding) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*_dividing(leaf.shape, sharding.spec, mesh)))

    return jax.tree.map(fit, nn.unbox(boxed), wanted)


def uncut(boxed: Any, mesh: Mesh) -> list[str]:
    """What the mesh does not cut though the rules ask for it: a line for every mesh axis that does not divide the axes of more than
    MATERIAL of the parameters. Every device along it holds those whole. Less than that is biases and small tables.

    Args:
      boxed: parameters or shapes with logical names, as for `shardings`.
    """
    leaves, specs = jax.tree.leaves(nn.unbox(boxed)), jax.tree.leaves(nn.get_partition_spec(boxed), is_leaf=_is_spec)
    total, lines, rules = sum(map(_bytes, leaves)), [], dict(RULES)
    for axis, devices in mesh.shape.items():
        whole, sizes = 0, set()  # bytes; the axes that do not divide, with their sizes
        for leaf, spec in zip(leaves, specs, strict=True):
            wrong = {(name, size) for name, size in zip(spec, leaf.shape) if rules.get(name) == axis and size % devices}
            whole += _bytes(leaf) if wrong else 0
            sizes |= wrong
        if whole <= MATERIAL * total:
            continue
        common = math.gcd(*(size for _, size in sizes))
        largest, named = math.gcd(common, devices), ", ".join(f"{name} {size:,}" for name, size in sorted(sizes))
        divides = f"{largest} does" if largest > 1 else f"divisors of {common:,} do, and {devices} has none but 1"
        much = f"{whole / total:.0%} of the parameters ({whole / 1e9:.3g} GB)"
        lines.append(
            f"{much} are not cut over {axis}: config.mesh.{axis} is {devices}, which does not divide {named}; {divides}")
    return lines


def _is_spec(x: Any) -> bool:
    return isinstance(x, PartitionSpec)


def _bytes(leaf: Any) -> int:
    return leaf.size * leaf.dtype.itemsize


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Asks the compiler to lay an activation out by its logical axes; nothing outside a mesh with rules (`nn.logical_axis_rules`).

    An axis that its mesh axis does not divide is replicated (motion frames of an odd bucket over `sequence`).
    """
    mesh = jax.sharding.get_abstract_mesh()
    spec = nn.logical_to_mesh_axes(axes)
    if mesh.empty or not nn.get_logical_axis_rules() or spec is None:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*_dividing(x.shape, spec, mesh)))


def _dividing(shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> list:
    """The mesh axes of each dimension, without those that do not divide it."""
    axes = tuple(spec) + (None,) * (len(shape) - len(spec))
    return [axis if size % _parts(mesh, axis) == 0 else None for size, axis in zip(shape, axes)]


def _parts(mesh: Mesh, axis: str | tuple[str, ...] | None) -> int:
    names = () if axis is None else (axis,) if isinstance(axis, str) else axis
    return math.prod(mesh.shape[name] for name in names)
