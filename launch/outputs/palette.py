"""The colours and the type that every picture, the preview and the report share: audio is blue, motion orange, truth grey."""
from pathlib import Path

AUDIO, MOTION, TRUTH, GIVEN = "#3f6fd1", "#d9642a", "#7b8794", "#aab2bd"  # on white
AUDIO_DARK, MOTION_DARK, TRUTH_DARK, GIVEN_DARK = "#86aefc", "#ff9d6b", "#93a0ae", "#5c6773"  # on slate
INK, FAINT, RULE, PAPER = "#1b2027", "#67717d", "#dfe3e8", "#ffffff"
INK_DARK, FAINT_DARK, RULE_DARK, SLATE = "#e8ebef", "#98a3af", "#2b333d", "#14181e"
MEL_MAP = "magma"  # matplotlib's name; perceptually even, readable on white and on slate


def rgb(colour: str, alpha: float | None = None) -> tuple[int, ...]:
    """'#rrggbb' as integers, with an alpha of 0..1 where given."""
    channels = tuple(int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return channels if alpha is None else (*channels, round(255 * alpha))


def font_file(bold: bool = False) -> Path:
    """The sans-serif that matplotlib brings along: there on every machine."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
