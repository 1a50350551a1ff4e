"""The collectives of a compiled TPU program, from its text: how many, of what kind, how many bytes, over how many devices.

A collective inside a loop counts once per turn; the turns are the constant that the loop's condition compares with. An asynchronous
collective is written in several fusions (begin, work meanwhile, end) under one channel and counts once. Gradients of parameters cut
over fsdp are summed and cut in one fusion, which the TPU's text calls all-reduce-scatter; they all say channel 1, and each counts.
Both branches of a conditional count, though a step takes one: those of the text, 0.07 GB each in configs/10b.py.

Bytes are those of the whole array: the result of an all-gather, the input of a reduce-scatter. On a ring of n devices each link
carries (n - 1) / n of them, twice that for an all-reduce.
"""
import collections
import dataclasses
import math
import re

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8, "u64": 8}
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|(?:true|false)_computation)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind over one number of devices, summed over the program."""

    kind: str
    group: int  # devices that take part together
    count: int
    bytes: int

    @property
    def traffic(self) -> float:
        """Bytes that leave one device over the whole step, on rings."""
        share = {"all-reduce": 2, "collective-permute": self.group / max(1, self.group - 1)}.get(self.kind, 1)
        return self.bytes * share * (self.group - 1) / max(1, self.group)


def collectives(text: str) -> list[Collective]:
    """What `compiled.as_text()` says, one line per kind and size of group, the most bytes first."""
    bodies, entry = _computations(text)
    devices = int(found.group(1)) if (found := re.search(r"num_partitions=(\d+)", text)) else 1
    calls, bytes_ = collections.Counter(), collections.Counter()
    for name, turns in _multiplicity(bodies, entry).items():
        seen = set()
        for line in bodies[name]:
            found = _INSTRUCTION.match(line)
            kind = found and found.group(3).removesuffix("-start")
            if kind not in KINDS:
                continue
            channel = re.search(r"channel_id=(\d+)", line)
            channel = channel.group(1) if channel else found.group(1)
            if channel in seen:
                continue
            seen.add(channel)
            group = _group(line, devices)
            size = _size(found.group(2))
            if found.group(3).endswith("-start") and found.group(2).startswith("("):
                size = max(map(_size, re.findall(r"\w+\[[\d,]*\]", found.group(2))))  # (input, result, ...): the larger
            if kind == "reduce-scatter":
                size *= group
            if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                kind, channel = "reduce-scatter", name
            key = kind, group
            calls[key, channel] = max(calls[key, channel], turns)
            bytes_[key, channel] = max(bytes_[key, channel], turns * size)
    total: dict = {}
    for (key, channel), turns in calls.items():
        count, size = total.get(key, (0, 0))
        total[key] = count + turns, size + bytes_[key, channel]
    return sorted((Collective(*key, *value) for key, value in total.items()), key=lambda c: -c.bytes)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    bodies, entry, name = {}, "", None
    for line in text.splitlines():
        if name is None:
            if head := _HEAD.match(line):
                name = head.group(2)
                bodies[name] = []
                entry = name if head.group(1) else entry
        elif line.startswith("}"):
            name = None
        else:
            bodies[name].append(line)
    return bodies, entry


def _multiplicity(bodies: dict[str, list[str]], entry: str) -> dict[str, int]:
    """How often each computation runs in a step."""
    times: collections.Counter = collections.Counter()

    def visit(name: str, turns: int) -> None:
        times[name] += turns
        for line in bodies[name]:
            if "=" not in line or "%" not in line:
                continue
            loop = _trips(bodies, line) if " while(" in line else 1
            for one, several in _CALLED.findall(line):
                for called in [one] if one else re.findall(r"[\w.\-]+", several):
                    if called in bodies:
                        visit(called, turns * loop)

    visit(entry, 1)
    return dict(times)


def _trips(bodies: dict[str, list[str]], line: str) -> int:
    """Turns of a loop: what its text says, else the largest constant of its condition."""
    if known := re.search(r'known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)', line):
        return int(known.group(1))
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    constants = re.findall(r"s32\[\]\S* constant\((\d+)\)", "\n".join(bodies.get(condition.group(1), []))) if condition else []
    return max(map(int, constants), default=1)


def _size(shape: str) -> int:
    return sum(_BYTES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n) for kind, dims in _ARRAY.findall(shape)
               if kind in _BYTES)  # fmt: skip


def _group(line: str, devices: int) -> int:
    """Devices in one replica group, in any of the forms XLA writes it in."""
    if axes := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes.group(1)))
        return math.prod(int(sizes[name]) for name in re.findall(r"'(\w+)'", axes.group(2)))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(iota.group(2))
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed.group(1).split(","))
    return devices if "collective-permute" not in line else 2
