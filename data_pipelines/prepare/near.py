"""Near-duplicates: the same recording once more, in another codec, at another loudness, or with its ends cut differently.

A clip is heard as its constellation: the local maxima of the smoothed log-mel, in BANDS bands below 8 kHz. Three numbers of two
maxima that follow each other, (band, band, time between them), change neither with loudness nor with where the clip begins, and
few of them with a codec. Over the sets A, B of such triples of two clips,

    J(A, B) = |A & B| / |A u B|

is 0.4 to 1 for near-duplicates (mp3, Vorbis, MPEG audio; -12 dB; ends cut by 0.14 s; all of it together: 30 GRID sentences each)
and at most 0.13 for two other GRID sentences, although one voice says six of the same 52 words in each (214 of them, every pair).

J is not computed for all pairs. A shard keeps K min-hashes of 16 bits a clip (128 bytes), of which two clips share a part J. TABLES
times, keys of four of them are sorted, and each clip is compared with the WINDOW before it: neighbours there share the longest
beginnings, whatever the number of clips (an LSH forest: Bawa, Condie, Ganesan 2005). That is O(N log N) time, and a bound: where
more than WINDOW clips stand between two near-duplicates in every table they stay unseen. A pair that agrees in PROPOSED of K is
then judged by J itself, from the clips' mels. In order of the clips, one is a near-duplicate of the first clip that is kept and
near it, so that the result is the same for any number of workers or restarts.
"""
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt16

POOL, BANDS = 3, 28  # mel bins a band; bands
AROUND_T, AROUND_F = 9, 2  # mel frames and bands over which a maximum is one
SMOOTH = np.array([1, 2, 3, 2, 1], np.float32) / 9  # over mel frames
DEPTH = 6.0  # nepers under the clip's loud frames that maxima may lie
PARTNERS, NEAREST, FARTHEST, STEP = 6, 6, 80, 3  # of a maximum: how many, from and to how many mel frames later, in steps of
FEWEST = 24  # triples of a clip that can be judged: about half a second of speech
K, TABLES, WINDOW = 64, 32, 8
COLUMNS = np.array([0, 1, 5, 18])  # of a table's key, moved on by one for each: no two tables share two
BLOCK = 1 << 16  # pairs compared at once
PROPOSED, NEAR = 14, 0.2  # of K; J
_SEEDS = np.random.Generator(np.random.PCG64(0)).integers(1, 2**63, K, dtype=np.uint64)


def triples(mel_TF: Float[np.ndarray, "T F"]) -> np.ndarray:
    """The sorted, distinct triples of a clip, each as one uint64."""
    T = len(mel_TF)
    x_TB = mel_TF[:, : POOL * BANDS].astype(np.float32).reshape(T, BANDS, POOL).mean(2)
    edged = np.pad(x_TB, ((2, 2), (0, 0)), mode="edge")
    x_TB = sum(weight * edged[i : i + T] for i, weight in enumerate(SMOOTH))
    edged = np.pad(x_TB, ((AROUND_T, AROUND_T), (AROUND_F, AROUND_F)), mode="edge")  # so that an end is no maximum
    over_bands = np.max([edged[:, i : i + BANDS] for i in range(2 * AROUND_F + 1)], axis=0)
    around_TB = _windows(over_bands, 2 * AROUND_T + 1).max(-1)
    before_TB = _windows(edged[:, AROUND_F : AROUND_F + BANDS], AROUND_T).max(-1)[:T]  # of a plateau none, of silence none
    quietest = np.percentile(x_TB.max(1), 90) - DEPTH
    times, bands = (axis.tolist() for axis in np.nonzero((x_TB >= around_TB) & (x_TB > before_TB) & (x_TB > quietest)))
    found = set()
    for i, (time, band) in enumerate(zip(times, bands)):
        partners = 0
        for j in range(i + 1, len(times)):
            apart = times[j] - time
            if apart > FARTHEST or partners == PARTNERS:
                break
            if apart >= NEAREST:
                partners += 1
                found.add((band * BANDS + bands[j]) * FARTHEST + apart // STEP)
    return np.array(sorted(found), np.uint64)


def sketch(mel_TF: Float[np.ndarray, "T F"] | None) -> str:
    """K min-hashes of 16 bits, in hexadecimal; empty where there is too little sound to judge by."""
    if mel_TF is None or len(found_N := triples(mel_TF)) < FEWEST:
        return ""
    x_KN = found_N[None] ^ _SEEDS[:, None]
    for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)):  # splitmix64's mixing
        x_KN = (x_KN ^ (x_KN >> np.uint64(shift))) * np.uint64(factor)
    x_KN ^= x_KN >> np.uint64(31)
    return x_KN.min(1).astype("<u2").tobytes().hex()


def near_duplicates(sketches: Sequence[str], mel: Callable[[int], np.ndarray]) -> dict[int, int]:
    """Which clip is a near-duplicate of which earlier one that is kept; `mel` reads one clip's."""
    heard_N = np.array([i for i, text in enumerate(sketches) if text], np.int64)
    if len(heard_N) < 2:
        return {}
    held_NK = np.frombuffer(bytes.fromhex("".join(sketches[i] for i in heard_N)), "<u2").reshape(-1, K)
    found: dict[int, int] = {}
    for pair in _proposed(held_NK):  # clip by clip, and of each its possible originals in order
        later, earlier = int(heard_N[pair >> 32]), int(heard_N[pair & 0xFFFF_FFFF])
        if later not in found and earlier not in found and jaccard(triples(mel(later)), triples(mel(earlier))) >= NEAR:
            found[later] = earlier
    return found


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """J of two arrays of distinct numbers."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / max(1, len(a) + len(b) - both)


def _proposed(held_NK: UInt16[np.ndarray, "N K"]) -> list[int]:
    """later * 2^32 + earlier of the pairs that agree in PROPOSED of K, sorted."""
    found = np.zeros(0, np.uint64)
    for table in range(TABLES):
        key_N = np.zeros(len(held_NK), np.uint64)
        for column in (table + COLUMNS) % K:
            key_N = (key_N << np.uint64(16)) | held_NK[:, column]
        order_N = np.argsort(key_N, kind="stable")
        first_N = key_N[order_N] >> np.uint64(48)
        for behind in range(1, min(WINDOW, len(order_N) - 1) + 1):
            at = np.flatnonzero(first_N[behind:] == first_N[:-behind])
            for i in range(0, len(at), BLOCK):
                one, other = order_N[at[i : i + BLOCK] + behind], order_N[at[i : i + BLOCK]]
                alike = (held_NK[one] == held_NK[other]).sum(1) >= PROPOSED
                later, earlier = np.maximum(one, other)[alike], np.minimum(one, other)[alike]
                found = np.union1d(found, (later.astype(np.uint64) << np.uint64(32)) | earlier.astype(np.uint64))
    return found.tolist()


def _windows(x_TB: np.ndarray, length: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x_TB, length, axis=0)
