"""Kernels that others wrote for the part of attention that sees all keys (flash.Whole).

Each has a public function with a rule for gradients that the merge of flash.py cannot use; what is needed are its two halves, which
JAX keeps under names that may change: a version that has changed them fails here, when a program is traced.
"""
import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jamflow_jax.model.online import NOTHING

LANES = 128  # splash attention works on blocks of so many frames


@dataclasses.dataclass(frozen=True)
class Cudnn:
    """cuDNN's flash attention: bfloat16, head width a multiple of 8. (Its public form rounds the log-sum-exp to bfloat16.)"""

    def forward(self, q, k, v, length_B):
        operands, settings = _operands(q, k, v, length_B), _settings(q, length_B)
        (o, lse_BHT), _ = _fused()._dot_product_attention_fwd_rule(*operands, *settings, True)
        return _without_keys(length_B, o.astype(jnp.float32), lse_BHT.swapaxes(1, 2))

    def backward(self, q, k, v, length_B, o, lse_BTH, do):
        do, lse_BTH = _nothing_back(length_B, do.astype(q.dtype), lse_BTH)
        residuals = *_operands(q, k, v, length_B), lse_BTH.swapaxes(1, 2), o
        return _fused()._dot_product_attention_bwd_rule(*_settings(q, length_B), False, residuals, do)[:3]


def _fused():
    from jax._src.cudnn import fused_attention_stablehlo

    return fused_attention_stablehlo


def _operands(q, k, v, length_B):
    unused = jnp.zeros(0, q.dtype)
    if length_B is None:
        return q, k, v, *[unused] * 7
    rows_B = jnp.full(q.shape[0], q.shape[1], jnp.int32)  # rows behind the end see the keys as well, as in the oracle
    return q, k, v, unused, rows_B, jnp.maximum(length_B, 1).astype(jnp.int32), *[unused] * 4


def _settings(q, length_B):
    """scale, seed, dropout, (bias, gradient of bias), kind of mask, layout, sliding window, version of cuDNN."""
    fused = _fused()
    mask = fused.MaskType.NO_MASK if length_B is None else fused.MaskType.PADDING
    return q.shape[-1] ** -0.5, 42, 0.0, (False, False), mask, fused.AttentionLayout.BTNH.value, None, fused.check_cudnn_version()


def _without_keys(length_B, o, lse_BTH):
    if length_B is None:
        return o, lse_BTH
    some_B11 = (length_B > 0)[:, None, None]
    return jnp.where(some_B11[..., None], o, 0.0), jnp.where(some_B11, lse_BTH, NOTHING)


def _nothing_back(length_B, do, lse_BTH):
    """No gradient to the key that an example without keys was lent."""
    if length_B is None:
        return do, lse_BTH
    some_B11 = (length_B > 0)[:, None, None]
    return jnp.where(some_B11[..., None], do, 0), jnp.where(some_B11, lse_BTH, 0.0)


@dataclasses.dataclass(frozen=True)
class Splash:
    """JAX's splash attention (Pallas, TPU), padded to whole blocks; `interpret` runs it anywhere, slowly, for tests.

    A kernel is not cut by the partitioner: under a mesh each device runs it on its own examples and heads.
    """

    interpret: bool = False

    def forward(self, q, k, v, length_B):
        kernel = self._kernel(q, k, save_residuals=True)

        def one(q, k, v, ids):
            o, (lse,) = kernel(q, k, v, ids)
            return o, lse

        o, lse_BHT = _per_device(lambda *args: jax.vmap(one)(*args), _ready(q, k, v, length_B), 2)
        o, lse_BTH = (x.swapaxes(1, 2)[:, : q.shape[1]] for x in (o.astype(jnp.float32), lse_BHT))
        return _without_keys(length_B, o, lse_BTH)

    def backward(self, q, k, v, length_B, o, lse_BTH, do):
        kernel = self._kernel(q, k, save_residuals=False)
        settings = kernel.kwargs
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

        def one(q, k, v, ids, o, lse, do):
            residuals = q, k, v, ids, None, o, lse, kernel.dq_mask_info, kernel.dkv_mask_info
            return splash._splash_attention_bwd(
                False, settings["mask_value"], False, settings["block_sizes"], None, settings["mask_function"], None,
                self.interpret, residuals, do)[3:6]

        do, lse_BTH = _nothing_back(length_B, do, lse_BTH)
        o, do, lse = (_blocks(x).swapaxes(1, 2) for x in (o.astype(q.dtype), do.astype(q.dtype), lse_BTH))
        dq, dk, dv = _per_device(lambda *args: jax.vmap(one)(*args), (*_ready(q, k, v, length_B), o, lse, do), 3)
        dq, dk, dv = (x.swapaxes(1, 2).astype(jnp.float32) for x in (dq, dk, dv))
        return dq[:, : q.shape[1]] * q.shape[-1] ** -0.5, dk[:, : k.shape[1]], dv[:, : k.shape[1]]

    def _kernel(self, q, k, save_residuals: bool):
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

        rows, keys = (-(-x.shape[1] // LANES) * LANES for x in (q, k))
        mask = masks.MultiHeadMask([masks.FullMask((rows, keys))] * (q.shape[2] // _shards("tensor")))
        bq, bk = _divisor(rows), _divisor(keys)
        sizes = splash.BlockSizes(
            block_q=bq, block_kv=bk, block_q_dkv=bq, block_kv_dkv=bk, block_q_dq=bq, block_kv_dq=bk)
        return splash.make_splash_mha_single_device(
            mask, block_sizes=sizes, save_residuals=save_residuals, interpret=self.interpret)


def _ready(q, k, v, length_B):
    """Scaled queries, keys, values [B, H, T, K] in whole blocks, and which frames see each other: all rows the valid keys."""
    from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_kernel import SegmentIds

    length_B = jnp.full(q.shape[0], k.shape[1]) if length_B is None else length_B
    parts = [_blocks(x).swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v)]
    rows, keys = parts[0].shape[2], parts[1].shape[2]
    # an example without keys sees one, which `_without_keys` undoes: a row that sees nothing is 0/0 in the kernel
    seen = (jnp.arange(keys) < jnp.maximum(length_B, 1)[:, None]).astype(jnp.int32)
    return *parts, SegmentIds(jnp.ones((q.shape[0], rows), jnp.int32), seen)


def _blocks(x):
    """Zeros behind the end, up to a multiple of LANES."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % LANES), *((0, 0),) * (x.ndim - 2)))


def _divisor(frames: int) -> int:
    """The largest block of at most 512 frames that divides."""
    return next(size for size in (512, 384, 256, LANES) if frames % size == 0)


def _shards(*axes: str) -> int:
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else math.prod(mesh.shape[axis] for axis in axes)


def _per_device(function, args, outputs: int):
    """`function` of arrays [B, H, ...] and segment ids [B, ...], on each device's own examples and heads."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function(*args)
    batch = ("data", "fsdp")
    by_head, by_example = PartitionSpec(batch, "tensor"), PartitionSpec(batch)
    specs = tuple(by_head if hasattr(x, "ndim") else jax.tree.map(lambda _: by_example, x) for x in args)
    return jax.shard_map(function, in_specs=specs, out_specs=(by_head,) * outputs, check_vma=False)(*args)
