"""What the sweeps on the embedded data set share: configs/small.py, five seeds, speech to motion on the validation split.

A baseline must reach 0.45 after subtracting the mean curve, or the sweep answers nothing. The test split stays untouched.
"""
SET = "runs/synthetic/16min"

AUDIO_TO_MOTION = {
    "base": "small",
    "synthetic": ({"path": SET, "minutes": 16.0},),
    "seeds": (0, 1, 2, 3, 4),
    "evaluate": {"split": "validation", "steps": 8},
    "metrics": (
        {"key": "rows.model.subtracted.mean", "label": "mouth r, mean curve subtracted"},
        {"key": "rows.model.raw.mean", "label": "mouth r, raw"},
        {"key": "validation.motion", "label": "motion loss", "better": "lower"},
        {"key": "validation.audio", "label": "audio loss", "better": "lower"},
    ),
}

# Under a quarter of an hour on two cores with three rows.
SMALLEST = {"seeds": (0, 1), "fixed": {"steps": 120}, "evaluate": {"clips": 18}}
