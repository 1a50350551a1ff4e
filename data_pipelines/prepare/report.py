"""What became of every input: accepted, rejected (why), changed on the way in (how). Printed, and kept as report.json."""
import collections
import dataclasses
import json
import sys
from pathlib import Path

from jamflow_jax.errors import InputError

SHOWN = 20  # rejections printed in full


class Rejected(InputError):
    """One input that cannot be used.

    Attributes:
      reason: a few words that are the same for all inputs of its kind ("missing file"), to count by.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):  # crosses processes
        return Rejected, (self.reason, str(self))


def missing(path: Path) -> Rejected:
    """What to say of a path that is no file."""
    said = "a folder, no file" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
    return Rejected("missing file", f"{path}: {said}")


def check_opens(path: Path) -> None:
    """Raises Rejected where the file system gives no file: libsndfile and FFmpeg do not say why they cannot open one."""
    try:
        if not path.is_file():
            raise missing(path)
        open(path, "rb").close()
    except OSError as error:
        raise Rejected("cannot be read", f"{path}: {error.strerror}") from None


@dataclasses.dataclass
class Report:
    """Counts and reasons of one preparation.

    A note is one line "kind: detail" ("resampled: 8000 Hz to 24000 Hz"): the input was used, after a change the user should know.
    """

    accepted: int = 0
    rejections: list[dict] = dataclasses.field(default_factory=list)  # {"id", "reason", "message"}
    notes: list[dict] = dataclasses.field(default_factory=list)  # {"id", "note"}
    totals: dict = dataclasses.field(default_factory=dict)  # clips and seconds of every split, ...
    quiet: bool = False  # print nothing as it comes

    def reject(self, clip_id: str, error: InputError) -> None:
        """Counts an input that is left out; the first SHOWN are printed as they come."""
        reason = getattr(error, "reason", "unusable")
        clip_id, message = _line(clip_id), " ".join(_line(str(error)).split())
        self.rejections.append({"id": clip_id, "reason": reason, "message": message})
        if self.quiet:
            return
        if len(self.rejections) <= SHOWN:
            self._print(self.rejections[-1:])
        elif len(self.rejections) == SHOWN + 1:
            print("rejected more; all of them will be in report.json", file=sys.stderr)

    def print_rest(self) -> None:
        """The rejections that were not printed as they came: for when there will be no report.json."""
        self._print(self.rejections[SHOWN:])

    def _print(self, rejections: list[dict]) -> None:
        for clip_id, message in ((entry["id"], entry["message"]) for entry in rejections):
            print(f"rejected {message if message.startswith(clip_id) else f'{clip_id}: {message}'}", file=sys.stderr)

    def accept(self, clip_id: str, notes: tuple[str, ...] = ()) -> None:
        """Counts an input that is used, and what was changed about it."""
        self.accepted += 1
        self.notes += [{"id": _line(clip_id), "note": _line(note)} for note in notes]

    @property
    def exit_code(self) -> int:
        """0 clean, 3 some inputs rejected, 1 nothing usable."""
        return 1 if not self.accepted else 3 if self.rejections else 0

    def by_reason(self) -> dict[str, int]:
        """How many inputs were rejected for each reason."""
        return dict(sorted(collections.Counter(entry["reason"] for entry in self.rejections).items()))

    def by_note(self) -> dict[str, int]:
        """How many notes there are of each kind."""
        return dict(sorted(collections.Counter(entry["note"].partition(":")[0] for entry in self.notes).items()))

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.accepted} clips accepted, {len(self.rejections)} rejected"]
        for split, total in self.totals.get("splits", {}).items():
            lines.append(f"  {split:10s} {total['clips']:7d} clips {total['seconds'] / 60:9.2f} min")
        examples = {entry["note"].partition(":")[0]: entry for entry in reversed(self.notes)}
        lines += [f"  rejected, {reason}: {count}" for reason, count in self.by_reason().items()]
        lines += [f"  {kind}: {count} (first {examples[kind]['id']}: {examples[kind]['note'].partition(':')[2].strip()})"
                  for kind, count in self.by_note().items()]  # fmt: skip
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Writes report.json."""
        content = {
            "accepted": self.accepted,
            "rejected": len(self.rejections),
            "rejected_by_reason": self.by_reason(),
            "noted_by_kind": self.by_note(),
            "totals": self.totals,
            "rejections": self.rejections,
            "notes": self.notes,
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _line(text: str) -> str:
    """One line of valid Unicode: file names may hold line breaks, and bytes that are not UTF-8."""
    return " ".join(text.splitlines()).encode("utf-8", "backslashreplace").decode()
