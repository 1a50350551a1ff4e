"""Finds bit rot: every file of a data set against the SHA-256 that dataset.json states, every record decoded, the index against
both."""
import dataclasses
from pathlib import Path

from data_pipelines.dataset import DataSet
from data_pipelines.index import SPEECH, Index
from data_pipelines.prepare.build import sha256
from data_pipelines.remote import fetched
from jamflow_jax.errors import InputError


@dataclasses.dataclass
class Result:
    """What was looked at, and one line for each fault."""

    clips: int = 0  # that can be used
    of: int = 0
    files: int = 0
    bytes: int = 0
    damage: list[str] = dataclasses.field(default_factory=list)


def verify(directory: str | Path, decode: bool = True) -> Result:
    """Checks a data set; records are decoded where a checksum fails, and with `decode` everywhere.

    Raises:
      InputError: no data set there, or one whose dataset.json, index, vocabulary or statistics cannot be read.
    """
    data, result = DataSet(directory), Result()
    stated = {f"shards/{name}": digest for name, digest in data.meta["files"].items()} | data.meta.get("checksums", {})
    bad = set()
    for name, digest in stated.items():
        path = Path(f"{data.address}/{name}") if data.address else data.path / name
        try:
            with fetched(path) as here:  # what lies at the address, not the copy that is kept of it
                result.bytes += here.stat().st_size
                found = sha256(here)
        except OSError as error:
            result.damage.append(f"{path}: {error.strerror}")
            bad.add(name)
            continue
        result.files += 1
        if found != digest:
            result.damage.append(f"{path}: SHA-256 {found[:12]}... where dataset.json states {digest[:12]}...")
            bad.add(name)
    if Index.load(data.path).fingerprint() != data.meta["fingerprint"]:
        result.damage.append(f"{data.path}/index.npz: it is not the index dataset.json was written with")
    result.of = len(data)
    for i in range(len(data)):
        shard = int(data.index.shard[i])
        if not decode and not any(f"shards/{column}-{shard:05d}.array_record" in bad for column in ("data", "audio", "speech")):
            result.clips += 1
            continue
        try:
            data.record(i, speech=bool(data.index.flags[i] & SPEECH))
            if data.meta["audio"]:
                data.audio(i)
            result.clips += 1
        except InputError as error:
            result.damage.append(str(error))
        except Exception as error:  # FLAC, riegeli
            place = f"{data.path}/shards/audio-{shard:05d}.array_record row {data.index.row[i]}"
            result.damage.append(f"{place} ({data.index.id(i)}): damaged: {error}")
    return result
