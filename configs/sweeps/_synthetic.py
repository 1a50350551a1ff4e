"""What the sweeps on the embedded data set share: configs/small.py, five seeds, tasks on the validation split.

A baseline counts if its mouth reaches 0.45 after subtracting the mean curve, and if speech made from lips is nearer to the truth
with its own lips than with another clip's; else the sweep answers nothing. The test split stays untouched.
"""
SET = "runs/synthetic/16min"

HEARD, DUBBED, SPOKEN = "audio-to-motion-validation", "motion-to-speech-validation", "text-to-both-validation"
MOUTH = {"key": f"{HEARD}.rows.model.subtracted.mean", "label": "speech to motion: mouth r, mean curve subtracted"}
MEASURED = (
    MOUTH,
    {"key": f"{DUBBED}.tables.speech.minus.model, shuffled.mel_unaligned.mean", "better": "lower",
     "label": "motion to speech: mel distance (dB), true lips minus another clip's"},
    {"key": f"{SPOKEN}.tables.sync.rows.model.margin.mean", "label": "text to both: sync margin"},
    {"key": f"{SPOKEN}.tables.sync.rows.model, other take.margin.mean", "label": "the same, motion of another take"},
    {"key": f"{SPOKEN}.tables.motion.rows.model.jitter.mean", "label": "text to both: jitter, truth 1", "better": "neither"},
    {"key": f"{SPOKEN}.tables.speech.rows.model.mel.mean", "label": "text to both: mel distance (dB)", "better": "lower"},
)  # fmt: skip
LOSSES = (  # held out; they compare only what is hidden alike
    {"key": "validation.motion", "label": "motion loss", "better": "lower"},
    {"key": "validation.audio", "label": "audio loss", "better": "lower"},
)

TASKS = {
    "base": "small",
    "synthetic": ({"path": SET, "minutes": 16.0},),
    "seeds": (0, 1, 2, 3, 4),
    "evaluate": {
        "split": "validation", "steps": 8, "task": "audio-to-motion,motion-to-speech,text-to-both",
        "bucket": 390, "batch": 4,  # one program for all: compiling more would take longer than running them
        "model_only": True, "recogniser": "none", "embedder": "none", "shown": 1,
    },
    "metrics": MEASURED + LOSSES,
}  # fmt: skip

# Speech to motion alone; of one JSON a figure is named without it.
AUDIO_TO_MOTION = {
    **TASKS,
    "evaluate": {**TASKS["evaluate"], "task": "audio-to-motion"},
    "metrics": (
        {**MOUTH, "key": "rows.model.subtracted.mean"},
        {"key": "rows.model.raw.mean", "label": "mouth r, raw"},
        LOSSES[0],
    ),
}

# Under a quarter of an hour on two cores with three rows.
SMALLEST = {"seeds": (0, 1), "fixed": {"steps": 120}, "evaluate": {"clips": 16}}
