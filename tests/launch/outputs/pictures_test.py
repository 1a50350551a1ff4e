"""The still picture exists for either stream or both and refuses neither."""
import numpy as np
import pytest
from PIL import Image

from launch.outputs.clip import Clip, Curve
from launch.outputs.pictures import write_picture

MEL, VALUES = np.random.default_rng(0).normal(size=(30, 100)), np.linspace(0, 1, 8)


@pytest.mark.parametrize("mel, curve", [(MEL, Curve("opening", VALUES, VALUES)), (MEL, None), (None, Curve("opening", VALUES))])
def test_picture(tmp_path, mel, curve):
    clip = Clip("a", mel_TF=mel, motion_MD=None if curve is None else np.zeros((8, 2)), mel_given_T=np.arange(30) < 5)
    write_picture(tmp_path / "a.png", clip, curve)
    assert Image.open(tmp_path / "a.png").size[0] == 1400


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="sound or motion"):
        write_picture(tmp_path / "a.png", Clip("a"), None)
