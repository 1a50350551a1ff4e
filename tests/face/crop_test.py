"""Crops: where landmarks put them, there and back again, and what is no face."""
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.face import crop

FACE = np.array([[-30, -30], [30, -30], [0, 0], [-20, 40], [20, 40]], float)  # eyes, nose, corners of the mouth


def test_a_crop_and_its_inverse():
    place = crop.Crop((100.0, 80.0), 60.0, 0.3)
    there, back = place.to_picture(256), place.from_picture(256)
    points = np.random.default_rng(0).uniform(0, 256, (5, 2))
    np.testing.assert_allclose((points @ there[:, :2].T + there[:, 2]) @ back[:, :2].T + back[:, 2], points, atol=1e-9)
    np.testing.assert_allclose(there @ (128, 128, 1), (100, 80), atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.5, -0.8])
def test_landmarks_put_the_face_upright(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = crop.from_landmarks(FACE @ turn.T + (200, 150))
    assert place.angle == pytest.approx(angle, abs=1e-6) and place.side == pytest.approx(2.3 * 70)
    back = place.from_picture(256)
    seen = (FACE @ turn.T + (200, 150)) @ back[:, :2].T + back[:, 2]
    assert seen[0, 1] == pytest.approx(seen[1, 1]) and seen[0, 0] < seen[1, 0] and seen[3, 1] > seen[0, 1]
    upright = crop.from_landmarks(FACE @ turn.T + (200, 150), turn=False)
    assert upright.angle == 0


def test_mediapipes_points_by_number():
    ids = [33, 133, 362, 263, 61, 291, 1]
    points = np.array([[-40, -30], [-20, -30], [20, -30], [40, -30], [-20, 40], [20, 40], [0, 0]], float)
    assert crop.from_landmarks(points, ids).angle == pytest.approx(0)
    with pytest.raises(InputError, match="number 291"):
        crop.from_landmarks(points[:5], ids[:5])
    with pytest.raises(InputError, match="7 landmarks"):
        crop.from_landmarks(points)
    with pytest.raises(InputError, match="no face"):
        crop.from_landmarks(np.zeros((5, 2)))


def test_boxes():
    place = crop.from_box((10, 20, 50, 70))
    assert place.side == pytest.approx(2.3 * 50) and place.centre == pytest.approx((30, 45 - 0.125 * 2.3 * 50))
    with pytest.raises(InputError, match="empty"):
        crop.from_box((10, 20, 10, 70))


def test_cutting_keeps_pixels_in_place():
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[64:128, 128:192] = 200
    np.testing.assert_allclose(crop.cut(picture, crop.from_centre(256, 256))[66:126, 130:190], 200, atol=1)
    small = crop.cut(picture, crop.from_centre(256, 256), 64)
    assert small[17:31, 33:47].min() == 200 and small[40:].max() == 0
    assert crop.cut(picture, crop.Crop((0, 0), 256))[:120, :120].max() == 0  # outside the picture: black


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_pasting_back_what_was_cut_changes_nothing_else(angle):
    y, x = np.mgrid[:200, :300]
    picture = np.stack([x * 0.8, y, 255 - x * 0.5], -1).astype(np.uint8)
    place = crop.Crop((140, 100), 120, angle)
    pasted = crop.PasteBack(place, 300, 200, 512)(picture, crop.cut(picture, place, 512))
    assert np.abs(pasted.astype(int) - picture).max() <= 2
    green = crop.PasteBack(place, 300, 200, 512)(picture, np.full((512, 512, 3), (0, 255, 0), np.uint8))
    assert tuple(green[100, 140]) == (0, 255, 0) and (green[:10] == picture[:10]).all()
    off = crop.PasteBack(crop.Crop((-500, -500), 100), 300, 200)
    assert (off(picture, np.zeros((512, 512, 3), np.uint8)) == picture).all()


def test_the_edge_is_soft():
    edge = crop.soft_edge()
    assert edge[256, 256] == 1 and edge[0].max() < 0.01 and edge[256, 16] == 1 and (np.diff(edge[256, :17]) >= 0).all()
