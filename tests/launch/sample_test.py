"""`jamflow sample` end to end with random weights: files, exit codes, given frames kept, nothing half written."""
import json
import pickle

import numpy as np
import pytest
import soundfile

import jamflow_jax.train.bundle
from jamflow_jax.errors import ConfigError
from jamflow_jax.motion.template import read_template
from launch import sample

FAST = ["--steps", "2", "--model", "run"]


@pytest.fixture(autouse=True)
def loaded(model, monkeypatch):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)


def test_speech_to_motion_writes_everything_in_step(files, tmp_path):
    assert sample.main([*FAST, "--out", str(tmp_path), "--audio", str(files / "speech.wav"), "--name", "a"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a.npz", "a.pkl", "a.png", "a.wav", "a_template.wav"]
    arrays = np.load(tmp_path / "a.npz")
    frames = len(arrays["motion"])
    assert frames == 41 and arrays["motion"].dtype == np.float32 and np.isfinite(arrays["motion"]).all()
    assert arrays["mel_given"].all() and not arrays["motion_given"].any()
    assert json.loads(str(arrays["facts"]))["request"]["audio"].endswith("speech.wav")
    template = read_template(tmp_path / "a.pkl")
    assert template.n_frames == frames + 1  # the neutral one
    np.testing.assert_allclose(template.exp[1:].reshape(frames, 63), arrays["motion"], atol=1e-6)
    given, made = soundfile.read(files / "speech.wav")[0], soundfile.read(tmp_path / "a.wav")[0]
    np.testing.assert_allclose(made, given, atol=1e-4)  # given sound is passed on, not vocoded
    assert len(soundfile.read(tmp_path / "a_template.wav")[0]) == len(made) + 960


def test_an_edit_keeps_what_was_given(files, tmp_path):
    given = ["--audio", str(files / "speech.wav"), "--motion", str(files / "face.npz")]
    assert sample.main([*FAST, "--out", str(tmp_path), *given, "--edit", "0.4:0.8", "--files", "npz,wav"]) == 0
    arrays, old = np.load(tmp_path / "sample.npz"), np.load(files / "face.npz")["motion"]
    kept = arrays["motion_given"][:40]
    mouth = [3 * k + axis for k in (14, 17, 19, 20) for axis in range(3)]
    np.testing.assert_array_equal(arrays["motion"][:40][kept][:, mouth], old[kept][:, mouth])
    assert not np.array_equal(arrays["motion"][:40][~kept][:, mouth], old[~kept][:, mouth])
    made, given = (soundfile.read(path)[0] for path in (tmp_path / "sample.wav", files / "speech.wav"))
    np.testing.assert_allclose(made[:9000], given[:9000], atol=1e-3)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".npz", ".wav"]


def test_a_file_of_requests_goes_on_past_bad_lines(files, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("speech.wav", "voice.wav", "face.npz"):
        (tmp_path / "in" / name).write_bytes((files / name).read_bytes())
    lines = [
        {"name": "dub", "task": "dubbing", "text": "hello.", "motion": "face.npz"},
        {"name": "tts", "task": "text-to-speech", "text": "hello there.", "ref_audio": "voice.wav", "ref_text": "words."},
        {"name": "gone", "audio": "gone.wav"},
        {"name": "dub", "text": "a name twice"},
        {"txet": "a typing mistake"},
    ]
    requests = tmp_path / "in" / "many.jsonl"
    requests.write_text("# a comment\n" + "\n".join(map(json.dumps, lines)) + "\nnot json\n")
    assert sample.main([*FAST, "--out", str(tmp_path / "out"), "--requests", str(requests), "--files", "wav,npz"]) == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dub.npz", "dub.wav", "tts.npz", "tts.wav"]
    said = capsys.readouterr().err
    assert said.count("rejected") == 4 and "no such file" in said and "did you mean 'text'" in said and "not JSON" in said
    tts = np.load(tmp_path / "out" / "tts.npz")
    assert "motion" not in tts.files
    assert soundfile.info(tmp_path / "out" / "tts.wav").frames == (len(tts["mel"]) - 1) * 256  # the reference is cut off


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--audio", "nowhere.wav"], 1, "no such file"),
        ([], 2, "nothing says how long"),
        (["--text", "hi", "--guidance", "lots"], 2, "--guidance"),
        (["--text", "hi", "--steps", "0"], 2, "steps"),
        (["--requests", "nowhere.jsonl"], 1, "cannot read the requests"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys, arguments, code, words):
    assert sample.main([*FAST, "--out", str(tmp_path / "out"), *arguments]) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and words in said
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_generated(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: pytest.fail("the model is loaded"))
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "deep" / "er"):
        assert sample.main([*FAST, "--out", str(out), "--text", "hi"]) == 1
        assert capsys.readouterr().err == f"error: {out}: Not a directory\n"


def test_a_gap_in_given_motion_names_no_option_of_another_command(tmp_path, capsys):
    motion = np.zeros((30, 63), np.float32)
    motion[4:20] = np.nan
    np.savez(tmp_path / "face.npz", motion=motion, names=np.array([f"kp{k}.{axis}" for k in range(21) for axis in "xyz"]))
    assert sample.main([*FAST, "--out", str(tmp_path / "out"), "--motion", str(tmp_path / "face.npz")]) == 1
    said = capsys.readouterr().err
    assert "frames 4 to 19: 16 in a row, at most 5 are filled; fill them in the file" in said and "--max-gap" not in said


def test_a_malicious_template_runs_nothing(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (print, ("pwned",))

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"n_frames": 1, "motion": [Evil()]}))
    assert sample.main([*FAST, "--out", str(tmp_path / "out"), "--motion", str(tmp_path / "evil.pkl")]) == 1
    captured = capsys.readouterr()
    assert "pwned" not in captured.out and captured.err.count("\n") == 1


def test_a_named_vocoder_makes_the_sound(golden, tmp_path, capsys):
    words = [*FAST, "--out", str(tmp_path), "--text", "hello.", "--want", "speech", "--duration", "1", "--files", "wav,npz"]
    sounds = []
    for vocoder in (golden / "vocos_tiny.safetensors", "griffin-lim"):
        assert sample.main([*words, "--vocoder", str(vocoder)]) == 0
        sounds.append(soundfile.read(tmp_path / "sample.wav")[0])
        facts = json.loads(str(np.load(tmp_path / "sample.npz")["facts"]))
        assert facts["vocoder"].startswith("Griffin-Lim" if vocoder == "griffin-lim" else "Vocos")
    assert len(sounds[0]) == len(sounds[1]) and abs(sounds[0] - sounds[1]).max() > 1e-3
    assert "sound by Griffin-Lim\n" in capsys.readouterr().out
    assert sample.main([*words, "--vocoder", str(golden / "f5tts_tiny.safetensors")]) == 1
    assert "a checkpoint of F5-TTS's DiT, expected Vocos" in capsys.readouterr().err


def test_guidance():
    assert sample.guidance("1.5").text == sample.guidance("1.5").rest == 1.5
    scales = sample.guidance("text=3,motion=0")
    assert (scales.text, scales.audio, scales.motion) == (3, 2, 0)
    for bad in ("", "x=1", "1,2", "text=", "nan"):
        with pytest.raises(ConfigError):
            sample.guidance(bad)
