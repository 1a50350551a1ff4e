"""One clip as bytes: a serialised `tf.train.Example`, written and read with protobuf alone.

    feature   type   content
    id        bytes  the clip's name
    length    int64  valid mel frames
    mel       bytes  float16 [T, 100], row-major little-endian; empty: no audio
    motion    bytes  float32 [M, D], raw units of the data set's motion space; empty: no motion
    text      bytes  UTF-8; empty: none
    speaker   bytes  UTF-8; empty: unknown
    extra     bytes  JSON object: word and phoneme times in seconds ({"words": [[start, end, word], ...]}), anything else

All features are always there, so that TFDS reads a shard with `Tensor(shape=(None, 100), dtype=float16, encoding="bytes")`,
`Text` and `Scalar` features. Bulky columns live in sibling files with the same rows: `audio-*.array_record` (FLAC bytes) and
`speech-*.array_record` (float16 [M, S] bytes), an empty row where a clip has none.

The message classes come from a private descriptor pool: a process that also imports TensorFlow registers the same names.
"""
import dataclasses
import io
import json

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from jaxtyping import Float, Float16, Float32

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MEL_BINS, SAMPLE_RATE, mel_frames_of_motion, motion_frames


@dataclasses.dataclass(frozen=True)
class Record:
    """What a training step may need of one clip; None where the clip has none."""

    id: str
    length: int  # valid mel frames
    mel: Float16[np.ndarray, "T 100"] | None = None
    motion: Float32[np.ndarray, "M D"] | None = None
    text: str | None = None
    speaker: str | None = None
    extra: dict = dataclasses.field(default_factory=dict)
    speech: Float16[np.ndarray, "M S"] | None = None  # from its sibling column

    def to_bytes(self) -> bytes:
        """The serialised tf.train.Example (without `speech`): equal records give equal bytes."""
        example = _Example()
        feature = example.features.feature
        feature["length"].int64_list.value.append(self.length)
        for name, value in (
            ("id", self.id.encode()),
            ("mel", _array_bytes(self.mel, "<f2")),
            ("motion", _array_bytes(self.motion, "<f4")),
            ("text", (self.text or "").encode()),
            ("speaker", (self.speaker or "").encode()),
            ("extra", json.dumps(self.extra, ensure_ascii=False, sort_keys=True).encode()),
        ):
            feature[name].bytes_list.value.append(value)
        return example.SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes, motion_dim: int) -> "Record":
        """The record in `data`; `motion_dim` D comes from the data set's motion space.

        Raises:
          InputError: when the bytes are no such record, or its arrays do not have the length it states.
        """
        try:
            example = _Example.FromString(data)
            feature = example.features.feature

            def value(name: str) -> bytes:
                return feature[name].bytes_list.value[0]

            record = cls(
                id=value("id").decode(),
                length=int(feature["length"].int64_list.value[0]),
                mel=_array(value("mel"), "<f2", MEL_BINS),
                motion=_array(value("motion"), "<f4", motion_dim),
                text=value("text").decode() or None,
                speaker=value("speaker").decode() or None,
                extra=json.loads(value("extra")),
            )
        except Exception as error:  # protobuf's DecodeError, a missing feature, a length that does not divide
            raise InputError(f"not a record of this format: {error}") from error
        record.check()
        return record

    def check(self) -> None:
        """Raises InputError unless mel has `length` frames and motion motion_frames(length)."""
        if self.mel is not None and len(self.mel) != self.length:
            raise InputError(f"record {self.id}: {len(self.mel)} mel frames where its length says {self.length}")
        for name, array in (("motion", self.motion), ("speech", self.speech)):
            if array is not None and len(array) != motion_frames(self.length):
                raise InputError(
                    f"record {self.id}: {len(array)} {name} frames where {self.length} mel frames carry "
                    f"{motion_frames(self.length)}"
                )


def length_of(mel_frames: int | None, motion: int | None) -> int:
    """The clip's length in mel frames: of its sound; without sound, the most its motion frames cover."""
    if mel_frames is not None:
        return mel_frames
    return mel_frames_of_motion(motion)


def encode_audio(audio_N: Float[np.ndarray, "N"] | None) -> bytes:
    """16-bit mono FLAC at 24 kHz (samples beyond [-1, 1] are clipped); empty without audio."""
    if audio_N is None:
        return b""
    import soundfile  # here: training reads no sound

    pcm = np.round(np.clip(audio_N, -1.0, 1.0) * 32767.0).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_audio(data: bytes) -> Float32[np.ndarray, "N"] | None:
    """The samples in [-1, 1] of `encode_audio`'s bytes, or None."""
    if not data:
        return None
    import soundfile

    pcm, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return pcm.astype(np.float32) / 32767.0


def encode_speech(speech_MS: Float[np.ndarray, "M S"] | None) -> bytes:
    """float16 bytes of the speech features, row-major; empty without."""
    return _array_bytes(speech_MS, "<f2")


def decode_speech(data: bytes, width: int) -> Float16[np.ndarray, "M S"] | None:
    """The features of `encode_speech`'s bytes, or None."""
    return _array(data, "<f2", width)


def _array_bytes(array: np.ndarray | None, dtype: str) -> bytes:
    return b"" if array is None else np.ascontiguousarray(array, dtype=dtype).tobytes()


def _array(data: bytes, dtype: str, width: int) -> np.ndarray | None:
    return np.frombuffer(data, dtype=dtype).reshape(-1, width) if data else None


def _example_class():
    """tensorflow/core/example/{feature,example}.proto, in a pool of our own."""
    file = descriptor_pb2.FileDescriptorProto(name="jamflow/example.proto", package="tensorflow", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto

    def message(name: str, fields: list[tuple], parent=None):
        entry = (parent.nested_type if parent is not None else file.message_type).add(name=name)
        for number, (field_name, kind, type_name, repeated) in enumerate(fields, start=1):
            entry.field.add(
                name=field_name, number=number, type=kind, type_name=type_name,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )  # fmt: skip
        return entry

    message("BytesList", [("value", field.TYPE_BYTES, None, True)])
    message("FloatList", [("value", field.TYPE_FLOAT, None, True)])
    message("Int64List", [("value", field.TYPE_INT64, None, True)])
    kinds = ("bytes_list", ".tensorflow.BytesList"), ("float_list", ".tensorflow.FloatList"), \
        ("int64_list", ".tensorflow.Int64List")  # fmt: skip
    feature = message("Feature", [(name, field.TYPE_MESSAGE, kind, False) for name, kind in kinds])
    feature.oneof_decl.add(name="kind")
    for entry in feature.field:
        entry.oneof_index = 0
    entry_type = ".tensorflow.Features.FeatureEntry"
    features = message("Features", [("feature", field.TYPE_MESSAGE, entry_type, True)])
    entries = [("key", field.TYPE_STRING, None, False), ("value", field.TYPE_MESSAGE, ".tensorflow.Feature", False)]
    message("FeatureEntry", entries, parent=features).options.map_entry = True
    message("Example", [("features", field.TYPE_MESSAGE, ".tensorflow.Features", False)])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example = _example_class()
