"""Models: arrays in, arrays out."""
from jamflow_jax.model.blocks import Modulation
from jamflow_jax.model.config import AudioConfig, JamFlowConfig, MotionConfig, TrunkConfig, WindowConfig
from jamflow_jax.model.jamflow import AudioInputs, JamFlow, MotionInputs, init, init_audio, init_motion
from jamflow_jax.model.streams import AudioDiT, MotionDiT

__all__ = [
    "AudioConfig", "AudioDiT", "AudioInputs", "JamFlow", "JamFlowConfig", "Modulation", "MotionConfig", "MotionDiT",
    "MotionInputs", "TrunkConfig", "WindowConfig", "init", "init_audio", "init_motion",
]
