import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import syncnet


def test_lse_of_known_embeddings():
    rng = np.random.default_rng(0)
    video = rng.normal(size=(60, 16))
    right = syncnet.score(video, video)
    assert right.offset == 0 and right.distance < 1e-3 and right.confidence > 3
    late = syncnet.score(video, np.roll(video, 4, axis=0))
    assert late.offset == 4
    wrong = syncnet.score(video, rng.normal(size=(60, 16)))
    assert wrong.confidence < 1 and wrong.distance > 4
    with pytest.raises(InputError, match="at least 5 frames"):
        syncnet.score(video[:0], video)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="no SyncNet there"):
        syncnet.SyncNet.load(tmp_path / "none.model")
    pytest.importorskip("torch")
    (tmp_path / "text.model").write_text("this is no network")
    with pytest.raises(InputError, match="text.model: neither"):
        syncnet.SyncNet.load(tmp_path / "text.model")


def test_both_kinds_of_file_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    state = {f"{name}.{key}": value for name, branch in syncnet.build().items() for key, value in branch.state_dict().items()}
    assert state["netcnnlip.0.weight"].shape == (96, 3, 5, 7, 7) and state["netcnnaud.0.weight"].shape == (64, 1, 3, 3)
    assert state["netfcaud.3.weight"].shape == (1024, 512) and "netcnnlip.18.weight" in state and "netcnnaud.18.weight" in state
    torch.save(state, tmp_path / "released.model")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (8, 224, 224, 3), np.uint8)
    audio = 0.1 * rng.normal(size=9600).astype(np.float32)
    net = syncnet.SyncNet.load(tmp_path / "released.model")
    found = net(pictures, audio)
    assert np.isfinite([found.confidence, found.distance]).all() and found == net(pictures, audio)
    state.pop("netfcaud.3.weight")
    torch.save(state, tmp_path / "half.model")
    with pytest.raises(InputError, match="half.model: neither"):
        syncnet.SyncNet.load(tmp_path / "half.model")

    class Tiny(torch.nn.Module):
        @torch.jit.export
        def forward_lip(self, x):
            return x.mean(dim=(3, 4)).flatten(1)

        @torch.jit.export
        def forward_aud(self, x):
            return x[:, 0, :, :].mean(dim=2)[:, :15 - 2].repeat(1, 2)[:, :15]

        def forward(self, x):
            return x

    torch.jit.script(Tiny()).save(str(tmp_path / "tiny.pt"))
    assert np.isfinite(syncnet.SyncNet.load(tmp_path / "tiny.pt")(pictures, audio).distance)
