"""One joint model against a cascade and against two separate models, at equal compute (model FLOPs, train/flops).

    jamflow sweep joint_or_separate

The cascade is a speech model (the audio stream alone, text to speech) and Motion-DiT alone on the mel (stage 1), each trained on
its task in every example. A step of both costs less than a joint one, by the joint attention; Motion-DiT gets what is left over
as further steps. Separate models make speech and motion of the same text without hearing each other: the figures "motion of another
take", where the motion belongs to other speech than is heard. Their motion is as good as the cascade's, since it is the cascade's.

The streams that are never joined are a control: their mouth hears nothing.
"""
from configs.small import get_config
from configs.sweeps._synthetic import MEASURED, SMALLEST, TASKS

SPEECH = {
    "model.joint_layers": (), "objective.hide_probs": (0.0, 0.0, 1.0), "optim.motion_lr": 0.0,
    "objective.drop_text": 0.2, "objective.text_absent_share": 0.5,  # it has nothing else to go by
}  # fmt: skip
MORE = 1.12  # steps of Motion-DiT for one of the joint model: (F_joint - F_audio) / F_motion


def rows(steps: int) -> dict:
    """Of a joint model trained for `steps`."""
    return {
        "joint": {},
        "speech model": {**SPEECH, "evaluate.task": "text-to-speech"},
        "cascade": {
            "stage": 1, "steps": round(MORE * steps), "evaluate.speech_from": "speech model",
            "evaluate.task": "audio-to-motion,text-to-both",
        },
        "never joined": {"model.joint_layers": ()},
    }  # fmt: skip


def get_sweep() -> dict:
    return {
        **TASKS,
        "metrics": MEASURED,
        "question": "Does joint training help, against a cascade and against separate models at equal compute?",
        "rows": rows(get_config().steps),
        # Its own number of steps: the cascade's belongs to it.
        "smallest": {**SMALLEST, "seeds": (0,), "fixed": {}, "rows": ("joint", "speech model", "cascade")},
    }
