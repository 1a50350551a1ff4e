"""Several processes evaluate as one: process p of n takes clips p, p + n, ...; what it found of them goes to all.

`shared` gives every process the same arrays in clip order, whatever n is.
"""
import io
from collections.abc import Mapping

import numpy as np


def own(count: int) -> range:
    """The clips of this process."""
    import jax

    return range(jax.process_index(), count, jax.process_count())


def shared(mine: Mapping[int, Mapping[str, np.ndarray]]) -> dict[int, dict[str, np.ndarray]]:
    """Clip -> name -> array, of all processes; each gives those of its own clips."""
    flat = {f"{clip}\t{name}": values for clip, of in mine.items() for name, values in of.items()}
    found: dict[int, dict[str, np.ndarray]] = {}
    for part in _exchange(flat):
        for key, values in part.items():
            clip, name = key.split("\t")
            found.setdefault(int(clip), {})[name] = values
    return dict(sorted(found.items()))


def _exchange(arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    import jax

    if jax.process_count() == 1:
        return [arrays]
    from jax.experimental import multihost_utils

    buffer = io.BytesIO()
    np.savez(buffer, keys=np.array(list(arrays)), **{f"a{n}": values for n, values in enumerate(arrays.values())})
    mine = np.frombuffer(buffer.getvalue(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.array([len(mine)], np.int32))).reshape(-1)
    padded = np.pad(mine, (0, int(sizes.max()) - len(mine)))
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    parts = []
    for row, size in zip(rows, sizes):
        with np.load(io.BytesIO(row[:size].tobytes()), allow_pickle=False) as file:
            parts.append({str(key): file[f"a{n}"] for n, key in enumerate(file["keys"])})
    return parts
