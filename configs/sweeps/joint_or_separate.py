"""Joint training against two models at equal compute; for speech to motion the second half of a cascade is Motion-DiT alone.

    jamflow sweep joint_or_separate

Motion-DiT alone reads the mel at its input (stage 1). As many steps of it and of an audio model alone cost together what the joint
model costs, less its joint attention; 4 of 5 frames are mel, so the joint model's whole compute buys it about four times the steps.
The streams that are never joined are two separate models in one run: their mouth hears nothing.
"""
from configs.sweeps._synthetic import AUDIO_TO_MOTION, SMALLEST


def get_sweep() -> dict:
    return {
        **AUDIO_TO_MOTION,
        "question": "Does joint training help the mouth follow speech?",
        "rows": {
            "joint": {},
            "same streams, never joined": {"model.joint_layers": ()},
            "Motion-DiT alone, as many steps": {"stage": 1},
            "Motion-DiT alone, all the compute": {"stage": 1, "steps": 4 * 200},
        },
        "smallest": {**SMALLEST, "rows": ("joint", "Motion-DiT alone, as many steps")},
    }
