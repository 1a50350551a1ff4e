"""JAM-Flow in PyTorch: speech and facial motion from one flow-matching transformer. One file; needs torch and safetensors alone.

    model = JamFlow.from_pretrained("FOLDER")                      # the folder this file lies in
    talk = Request(length=len(mel), mel=mel, want_audio=False)     # speech -> motion
    say = Request(length=280, text_ids=model.encode("Hello."))     # text -> speech and motion, 3 s
    results = model.generate([talk, say], steps=32, guidance=2.0)  # .mel [T, 100] log-mel, .mouth [M, D] normalised
    sound = model.vocoder(results[1].mel[None])                    # [1, (T - 1) * 256] at 24 kHz
    motion = model.raw_motion(results[0].mouth)                    # [M, D] in the units of config.json's motion space

FOLDER holds config.json, model.safetensors, vocab.txt, statistics.json, and where there are such, vocoder.safetensors and
origins.json, the licences of weights from elsewhere. Keys under `audio.` are those of F5-TTS's DiT, those under `motion.` the same
over motion frames. What is computed is the paper's (arXiv 2506.23552):

    one clock      24 kHz, a mel frame every 256 samples = 4 ticks of 1/375 s; a motion frame lasts 15 ticks = 1/25 s
    two streams    embed -> adaLN-zero transformer layers -> velocity; text enters the audio stream
    joint layers   the rows of each stream attend to keys of both, within exact time windows
    sampling       dy/dt = v(y, t) from noise at t = 0 to data at t = 1, nested guidance, known frames pasted back

Every task is a choice of known frames: a stream all known is GIVEN, one neither known nor wanted ABSENT, otherwise GENERATED.
Shape suffixes: B batch, T mel frames, M motion frames, D width, H heads, K head width, F mel bins, N characters.
Run `python jamflow_torch.py --help` to try it. Written by `jamflow convert torch` (MIT licence; the weights have their own).
"""
import argparse
import json
import math
import sys
import wave
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

SAMPLE_RATE, HOP, N_FFT = 24_000, 256, 1024
TICKS_PER_SECOND, MEL_TICKS, MOTION_TICKS = 375, 4, 15
GENERATED, GIVEN, ABSENT = 0, 1, 2
CONDITIONS = ("text", "audio", "motion", "rest")  # the order of guidance


def motion_frames(mel_frames):
    """Motion frames carried by mel frames: ceil(4 T / 15); ints or integer tensors."""
    return -(-MEL_TICKS * mel_frames // MOTION_TICKS)


# ---------------------------------------------------------------------------------------------------------------- embeddings
# The arithmetic of angles and norms is float32 whatever the dtype of the weights, and no table is a buffer: `.half()` on a table
# of rotary frequencies turns the angles of frame 1,024 by 0.4 rad.


class TimeEmbedding(nn.Module):
    """Flow time [B] -> [B, D]: sines and cosines of 1000 t exp(-ln(1e4) i / 127), then Linear -> SiLU -> Linear."""

    def __init__(self, width):
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time_B):
        frequency = torch.exp(torch.arange(128, dtype=torch.float32, device=time_B.device) * (-math.log(1e4) / 127))
        angle = 1000.0 * time_B.float()[:, None] * frequency
        return self.time_mlp(torch.cat([angle.sin(), angle.cos()], -1).to(self.time_mlp[0].weight.dtype))


class GRN(nn.Module):
    """Global response normalisation over time, within each example's own length."""

    def __init__(self, width):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x_BTC, within_BT):
        norm = zero_outside(x_BTC.float(), within_BT).norm(dim=1, keepdim=True)
        scaled = norm / (norm.mean(-1, keepdim=True) + 1e-6)
        return (self.gamma * (x_BTC * scaled) + self.beta + x_BTC).to(x_BTC.dtype)


class ConvNeXtV2Block(nn.Module):
    """Depthwise convolution of width 7 -> LayerNorm -> Linear -> exact GELU -> GRN -> Linear, residual."""

    def __init__(self, width):
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.grn, self.pwconv2 = nn.Linear(width, 2 * width), GRN(2 * width), nn.Linear(2 * width, width)

    def forward(self, x_BTC, within_BT):
        y = self.norm(self.dwconv(x_BTC.mT).mT)
        return x_BTC + self.pwconv2(self.grn(F.gelu(self.pwconv1(y)), within_BT))


class TextEmbedding(nn.Module):
    """Character ids (0-based, -1 padding) -> one vector per mel frame; row 0 of the table fills up to the mel's length."""

    def __init__(self, config):
        super().__init__()
        self.mask_padding, self.grn_over_padding = config.text_mask_padding, config.grn_over_padding
        self.text_embed = nn.Embedding(config.text_vocab + 1, config.text_width)
        self.text_blocks = nn.ModuleList(ConvNeXtV2Block(config.text_width) for _ in range(config.text_layers))

    def forward(self, text_BN, frames, within_BT, drop_B):
        ids_BT = F.pad(text_BN[:, :frames] + 1, (0, max(0, frames - text_BN.shape[1])))
        if within_BT is not None:
            ids_BT = ids_BT.masked_fill(~within_BT, 0)
        # taken before dropped text is zeroed: "no text" still tells its length, and F5-TTS is trained so
        keep_BT = ids_BT != 0 if self.mask_padding else within_BT
        ids_BT = ids_BT.masked_fill(drop_B[:, None], 0)
        x_BTC = self.text_embed(ids_BT)
        x_BTC = zero_outside(x_BTC + absolute_positions(frames, x_BTC.shape[-1], x_BTC.device).to(x_BTC.dtype), keep_BT)
        for block in self.text_blocks:
            x_BTC = zero_outside(block(x_BTC, None if self.grn_over_padding else within_BT), keep_BT)
        return x_BTC


class ConvPositionEmbedding(nn.Module):
    """Twice: grouped convolution of width 31 -> Mish; nothing past an example's end enters or leaves a convolution."""

    def __init__(self, width):
        super().__init__()
        conv = lambda: nn.Conv1d(width, width, 31, padding=15, groups=16)  # noqa: E731
        self.conv1d = nn.Sequential(conv(), nn.Mish(), conv(), nn.Mish())

    def forward(self, x_BTD, valid_BT):
        y_BTD = zero_outside(x_BTD, valid_BT)
        for conv in (self.conv1d[0], self.conv1d[2]):
            y_BTD = F.mish(zero_outside(conv(y_BTD.mT).mT, valid_BT))
        return y_BTD


class InputEmbedding(nn.Module):
    """Per-frame inputs side by side -> model width, plus the convolutional position embedding."""

    def __init__(self, inputs, width):
        super().__init__()
        self.proj, self.conv_pos_embed = nn.Linear(inputs, width), ConvPositionEmbedding(width)

    def forward(self, parts, valid_BT):
        x_BTD = self.proj(torch.cat([part.to(self.proj.weight.dtype) for part in parts], -1))
        return x_BTD + self.conv_pos_embed(x_BTD, valid_BT)


def absolute_positions(frames, width, device):
    """[cos, sin] of position / 1e4^(2 i / width), [T, C]; F5-TTS's table ends at row 8191, which later frames repeat."""
    frequency = 1e4 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device)[: width // 2] / width)
    angle = torch.arange(frames, device=device).clamp(max=8191).float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def zero_outside(x_BTD, keep_BT):
    return x_BTD if keep_BT is None else x_BTD.masked_fill(~keep_BT[:, :, None], 0)


# ---------------------------------------------------------------------------------------------- rotary embedding and attention


def rope(position_bT, width):
    """Cosines and sines [b, T, 1, K] for `rotate`; neighbouring channels are a pair."""
    theta = (1e4 ** (-torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)).float().to(position_bT.device)
    angle_bTK = (position_bT.float()[:, :, None] * theta).repeat_interleave(2, -1)
    return angle_bTK.cos()[:, :, None], angle_bTK.sin()[:, :, None]


def rotate(x_BTHK, table, heads):
    """Turns the first `heads` heads (None: all; 1: F5-TTS v0)."""
    x = x_BTHK[:, :, :heads].float()
    turned = torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
    return torch.cat([(x * table[0] + turned * table[1]).to(x_BTHK.dtype), x_BTHK[:, :, x.shape[2] :]], 2)


def attend(q_BTHK, k_BSHK, v_BSHK, mask_b1TS=None):
    """Softmax attention, scale 1/sqrt(K)."""
    q, k, v = (part.transpose(1, 2) for part in (q_BTHK, k_BSHK, v_BSHK))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_b1TS).transpose(1, 2)


def for_all_heads(mask_bTS):
    """A mask as `attend` takes it. A row past an example's end may see no key: it then sees all, as nobody reads it and a NaN would
    spread."""
    return None if mask_bTS is None else (mask_bTS | ~mask_bTS.any(-1, keepdim=True))[:, None]


def window_ticks(window):
    """The largest whole ticks a <= w and b < w of a window of w seconds (an exact fraction)."""
    ticks = window * TICKS_PER_SECOND
    return ticks.numerator // ticks.denominator, -(-ticks.numerator // ticks.denominator) - 1


def band(frames, ticks, window, device):
    """[1, T, T]: keys of the own stream with |i - j| ticks <= window; None: all."""
    if window is None:
        return None
    position = torch.arange(frames, device=device) * ticks
    return ((position[:, None] - position).abs() <= window_ticks(window)[0])[None]


def cross_band(frames_a, frames_m, window, device):
    """[1, T, M]: does motion frame [15 i, 15 i + 15) overlap [4 j - w, 4 j + w]? None: always."""
    if window is None:
        return torch.ones(1, frames_a, frames_m, dtype=torch.bool, device=device)
    inclusive, exclusive = window_ticks(window)
    mel, start = MEL_TICKS * torch.arange(frames_a, device=device)[:, None], MOTION_TICKS * torch.arange(frames_m, device=device)
    return ((start - mel <= inclusive) & (mel - start - MOTION_TICKS <= exclusive))[None]


def valid_frames(length_B, frames):
    """True before each example's end [B, T]; None where all are full, so that nothing needs masking."""
    if length_B is None or bool((length_B >= frames).all()):
        return None
    return torch.arange(frames, device=length_B.device) < length_B[:, None]


def both(mask_bTS, valid_BS):
    """A mask of rows and keys and one of keys alone; None allows all."""
    if mask_bTS is None or valid_BS is None:
        return mask_bTS if valid_BS is None else valid_BS[:, None, :]
    return mask_bTS & valid_BS[:, None, :]


# ------------------------------------------------------------------------------------------------------------------- streams


class AdaNorm(nn.Module):
    """LN(x) (1 + scale) + shift, with a Linear of the time embedding that gives `parts` such numbers per channel."""

    def __init__(self, width, parts):
        super().__init__()
        self.parts, self.linear = parts, nn.Linear(width, parts * width)

    def forward(self, emb_BD):
        return self.linear(F.silu(emb_BD))[:, None].chunk(self.parts, -1)


def modulate(x_BTD, scale, shift):
    return (F.layer_norm(x_BTD.float(), x_BTD.shape[-1:], eps=1e-6) * (1 + scale) + shift).to(x_BTD.dtype)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-6) * self.weight).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.rope_heads, inner = config.heads, config.rope_heads, config.heads * config.head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(config.width, inner) for _ in range(3))
        self.q_norm, self.k_norm = (RMSNorm(config.head_dim) if config.qk_norm else nn.Identity() for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(inner, config.width)])

    def qkv(self, h_BTD, table):
        q, k, v = (part(h_BTD).unflatten(-1, (self.heads, -1)) for part in (self.to_q, self.to_k, self.to_v))
        return rotate(self.q_norm(q), table, self.rope_heads), rotate(self.k_norm(k), table, self.rope_heads), v


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        first = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(first, nn.Identity(), nn.Linear(hidden, width))


class Block(nn.Module):
    """One layer of one stream, cut where attention goes in: a joint layer puts one attention over both streams there."""

    def __init__(self, config):
        super().__init__()
        self.attn_norm, self.attn = AdaNorm(config.width, 6), Attention(config)
        self.ff = FeedForward(config.width, config.ff_mult * config.width)

    def before(self, x_BTD, emb_BD, table):
        shift, scale, *rest = self.attn_norm(emb_BD)
        return self.attn.qkv(modulate(x_BTD, scale, shift), table), rest

    def after(self, x_BTD, o_BTHK, modulation):
        gate, shift, scale, gate_ff = modulation
        x_BTD = x_BTD + gate * self.attn.to_out[0](o_BTHK.flatten(-2))
        return x_BTD + gate_ff * self.ff.ff(modulate(x_BTD, scale, shift))


class DiT(nn.Module):
    """What is common to both streams."""

    def __init__(self, config, inputs, outputs):
        super().__init__()
        self.config = config
        self.time_embed = TimeEmbedding(config.width)
        self.input_embed = InputEmbedding(inputs, config.width)
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        if config.long_skip:
            self.long_skip_connection = nn.Linear(2 * config.width, config.width, bias=False)
        self.norm_out, self.proj_out = AdaNorm(config.width, 2), nn.Linear(config.width, outputs)

    def head(self, x_BTD, emb_BD, embedded_BTD, valid_BT):
        """-> velocity, float32, zero past the end. The last adaLN gives scale, shift: the opposite order to the layers."""
        if self.config.long_skip:
            x_BTD = self.long_skip_connection(torch.cat([x_BTD, embedded_BTD], -1))
        scale, shift = self.norm_out(emb_BD)
        h_BTD = modulate(x_BTD, scale, shift).float()
        return zero_outside(F.linear(h_BTD, self.proj_out.weight.float(), self.proj_out.bias.float()), valid_BT)


class AudioDiT(DiT):
    """F5-TTS's DiT; v1 and v0 by config."""

    def __init__(self, config):
        super().__init__(config, 2 * config.mel_dim + config.text_width, config.mel_dim)
        self.text_embed = TextEmbedding(config)

    def embed(self, inputs, length_B):
        """-> hidden states [B, T, D], time embedding [B, D], rotary table, valid [B, T] or None, band [1, T, T] or None."""
        frames, device = inputs.x_BTF.shape[1], inputs.x_BTF.device
        valid_BT = valid_frames(length_B, frames)
        drop_B = torch.as_tensor(inputs.drop_text_B, device=device).expand(len(inputs.x_BTF))
        text_BTC = self.text_embed(inputs.text_BN, frames, valid_BT, drop_B)
        x_BTD = self.input_embed([inputs.x_BTF, inputs.context_BTF, text_BTC], valid_BT)
        table = rope(torch.arange(frames, device=device)[None], self.config.head_dim)
        return x_BTD, self.time_embed(inputs.time_B), table, valid_BT, None


class MotionDiT(DiT):
    """The same trunk over motion frames; inputs [noisy mouth; context; rest of the face; speech features of stage 1]."""

    def __init__(self, config):
        super().__init__(config, 2 * config.mouth_dim + config.rest_dim + config.speech_dim, config.mouth_dim)

    def embed(self, inputs, length_B, mel_frames):
        x_BMD, c = inputs.x_BMD, self.config
        (batch, frames, _), device = x_BMD.shape, x_BMD.device
        valid_BM = valid_frames(None if length_B is None else motion_frames(length_B), frames)
        parts = [x_BMD, inputs.context_BMD, inputs.rest_BMR]
        if c.speech_dim:
            parts.append(x_BMD.new_zeros(batch, frames, c.speech_dim) if inputs.speech_BMS is None else inputs.speech_BMS)
        if length_B is None:
            length_B = torch.tensor([mel_frames or MOTION_TICKS * frames // MEL_TICKS], device=device)
        table = rope(self.positions(frames, length_B), c.head_dim)
        own = band(frames, MOTION_TICKS, fraction(c.window_seconds), device)
        return self.input_embed(parts, valid_BM), self.time_embed(inputs.time_B), table, valid_BM, own

    def positions(self, frames, length_B):
        """Where motion frames sit among mel frames: 3.75 i ("time"), i L_a / L_m ("length", the paper's formula) or i ("none")."""
        position_M = torch.arange(frames, dtype=torch.float32, device=length_B.device)[None]
        if self.config.rope_alignment == "time":
            return position_M * (MOTION_TICKS / MEL_TICKS)
        if self.config.rope_alignment == "length":
            return position_M * (length_B / motion_frames(length_B).clamp(min=1))[:, None].float()
        return position_M


def fraction(text):
    """A window of config.json: "7/25" seconds, exactly; None is infinite."""
    return None if text is None else Fraction(text)


# --------------------------------------------------------------------------------------------------------------------- model


@dataclass
class AudioInputs:
    """Of the audio stream; the context is zero where it is unknown."""

    x_BTF: torch.Tensor
    context_BTF: torch.Tensor
    text_BN: torch.Tensor
    time_B: torch.Tensor
    drop_text_B: torch.Tensor | bool = False


@dataclass
class MotionInputs:
    """Of the motion stream, normalised; context and rest are zero where they are unknown."""

    x_BMD: torch.Tensor
    context_BMD: torch.Tensor
    rest_BMR: torch.Tensor
    time_B: torch.Tensor
    speech_BMS: torch.Tensor | None = None


class JamFlow(nn.Module):
    """Both streams, or one of them; `about` is config.json as it stands."""

    def __init__(self, about):
        super().__init__()
        self.about, config = about, about["model"]
        audio, motion = (SimpleNamespace(**config[name]) for name in ("audio", "motion"))
        if "audio" in about["streams"]:
            self.audio = AudioDiT(audio)
        if "motion" in about["streams"]:
            self.motion = MotionDiT(motion)
        self.audio_config, self.motion_config = audio, motion
        self.joint = set(range(audio.depth // 2) if config["joint_layers"] is None else config["joint_layers"])
        windows = config["windows"]
        self.keep_when_alone = windows["keep_when_alone"]
        self.windows = {name: fraction(value) for name, value in windows.items() if name != "keep_when_alone"}
        self.vocoder, self.vocab, self.statistics = None, None, None
        self.origins = []  # of weights that come from elsewhere: part, source, licence

    @classmethod
    def from_pretrained(cls, folder, device="cpu", dtype=None):
        """Reads a folder written by `jamflow convert torch`. `dtype` of the computation: by default that of the file."""
        folder = Path(folder)
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if about.get("format") != "jamflow-torch-1":
            raise ValueError(f"{folder / 'config.json'}: not an export that this file reads")
        with torch.device("meta"):
            model = cls(about)
        model.load_state_dict(load_file(folder / "model.safetensors", str(device)), assign=True)
        model = model.to(dtype=dtype).requires_grad_(False).eval()
        if about["tokenizer"] != "byte":
            lines = (folder / "vocab.txt").read_bytes().decode().removesuffix("\n").split("\n")
            model.vocab = {line.removesuffix("\r"): i for i, line in enumerate(lines)}
        statistics = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
        model.statistics = {name: torch.tensor(statistics[name]) for name in ("mean", "std", "live")}
        if (folder / "origins.json").exists():
            model.origins = json.loads((folder / "origins.json").read_text(encoding="utf-8"))
        if (folder / "vocoder.safetensors").exists():
            model.vocoder = Vocos.from_file(folder / "vocoder.safetensors", device)
        return model

    def forward(self, audio, motion, length_B=None, joint_audio_B=None, joint_motion_B=None):
        """Velocities ([B, T, F], [B, M, D]), float32.

        Args:
          audio, motion: AudioInputs, MotionInputs; None runs the other stream alone.
          length_B: valid mel frames of each example; motion frames follow. None: all.
          joint_audio_B: alpha of the audio stream: do its rows see motion keys? False where motion is absent. None: all True.
          joint_motion_B: alpha of the motion stream.
        """
        live = {}
        if audio is not None:
            live["audio"] = self.audio, *self.audio.embed(audio, length_B)
        if motion is not None:
            live["motion"] = self.motion, *self.motion.embed(motion, length_B, None if audio is None else audio.x_BTF.shape[1])
        x = {name: parts[1] for name, parts in live.items()}
        alone = {name: for_all_heads(both(own, valid)) for name, (_, _, _, _, valid, own) in live.items()}
        if len(live) == 2:
            masks = self.joint_masks(
                live["audio"][4], live["motion"][4], x["audio"].shape[1], x["motion"].shape[1],
                joint_audio_B, joint_motion_B, x["audio"].device)
        for i in range(len(next(iter(live.values()))[0].transformer_blocks)):
            before = {name: s.transformer_blocks[i].before(x[name], emb, table) for name, (s, _, emb, table, _, _) in live.items()}
            for name, (stream, *_) in live.items():
                (q, k, v), modulation = before[name]
                mask = alone[name]
                if len(live) == 2 and i in self.joint:
                    (_, k_other, v_other), _ = before["motion" if name == "audio" else "audio"]
                    k, v, mask = torch.cat([k, k_other], 1), torch.cat([v, v_other], 1), masks[name]
                x[name] = stream.transformer_blocks[i].after(x[name], attend(q, k, v, mask), modulation)
        v = {name: s.head(x[name], emb, embedded, valid) for name, (s, embedded, emb, _, valid, _) in live.items()}
        return v.get("audio"), v.get("motion")

    def joint_masks(self, valid_a, valid_m, frames_a, frames_m, joint_audio_B, joint_motion_B, device):
        """Keys that the rows of a joint layer see, own ones first: audio [B, 1, T, T + M], motion [B, 1, M, M + T]."""
        w = self.windows
        own_a, own_m = band(frames_a, MEL_TICKS, w["audio_audio"], device), band(frames_m, MOTION_TICKS, w["motion_motion"], device)
        cross_a = cross_band(frames_a, frames_m, w["audio_motion"], device)
        cross_m = cross_band(frames_a, frames_m, w["motion_audio"], device).mT
        masks = {}
        for name, own, cross, valid, valid_other, joint_B in (
            ("audio", own_a, cross_a, valid_a, valid_m, joint_audio_B),
            ("motion", own_m, cross_m, valid_m, valid_a, joint_motion_B),
        ):
            if own is None:
                own = torch.ones(1, cross.shape[1], cross.shape[1], dtype=torch.bool, device=device)
            if joint_B is not None:
                cross = cross & joint_B[:, None, None]
                own = own if self.keep_when_alone else own | ~joint_B[:, None, None]
            own, cross = both(own, valid), both(cross, valid_other)
            batch = max(len(own), len(cross))
            masks[name] = for_all_heads(torch.cat([own.expand(batch, -1, -1), cross.expand(batch, -1, -1)], -1))
        return masks

    def runs_alone(self, stream):
        """Whether a stream's own layers by themselves are the joint model with the other stream absent."""
        w = self.windows
        if stream == "audio":
            joined, apart = w["audio_audio"], None
        else:
            joined, apart = w["motion_motion"], fraction(self.motion_config.window_seconds)
        return not self.joint or (joined if self.keep_when_alone else None) == apart

    # --- around the model

    def encode(self, text):
        """Text -> ids; unknown characters read as spaces."""
        kind = self.about["tokenizer"]
        if kind == "byte":
            return torch.tensor(list(text.encode()))
        return torch.tensor([self.vocab.get(token, 0) for token in (pinyin(text) if kind == "pinyin" else text)], dtype=torch.long)

    def normalise(self, motion_MD):
        """Raw motion in the dimensions of the motion space -> normalised (mouth [M, Dm], rest [M, Dr])."""
        s, space = self.statistics, self.about["space"]
        z = ((motion_MD.double() - s["mean"]) / torch.where(s["live"], s["std"], 1.0)).where(s["live"], 0.0).float()
        return z[:, space["mouth"]], z[:, space["rest"]]

    def raw_motion(self, mouth_MD, rest_MR=None):
        """Normalised mouth (and rest, else its mean) -> raw motion [M, D]."""
        s, space = self.statistics, self.about["space"]
        z = torch.zeros(len(mouth_MD), len(s["mean"]))
        z[:, space["mouth"]] = mouth_MD
        if rest_MR is not None:
            z[:, space["rest"]] = rest_MR
        return (z.double() * s["std"] + s["mean"]).where(s["live"], s["mean"].double()).float()

    # --- sampling

    @torch.inference_mode()
    def generate(self, requests, steps=32, method="euler", grid="sway", sway=-1.0, guidance=2.0, max_batch=16, noise=None):
        """One Result per request, in order.

        Args:
          requests: in any mixture; a request gives the same alone as in company, to rounding.
          steps, method, grid, sway: of the solver; euler | midpoint | heun; uniform | sway | epss.
          guidance: one scale, or {"text": 2.0, "audio": 2.0, "motion": 2.0, "rest": 2.0}.
          noise: per request {"audio": [T, F], "motion": [M, D]}; a stream not named gets the noise of the request's seed.
        """
        scales = dict.fromkeys(CONDITIONS, 2.0) | guidance if isinstance(guidance, dict) else dict.fromkeys(CONDITIONS, guidance)
        times = time_grid(grid, steps, sway)
        if method not in STEPS:
            raise ValueError(f"no method {method!r}; there are {', '.join(STEPS)}")
        rows = [check(self, request, f"request {i}") for i, request in enumerate(requests)]
        groups, results = {}, [None] * len(rows)
        for i in sorted(range(len(rows)), key=lambda i: rows[i].length):
            groups.setdefault(self.live_streams(rows[i], f"request {i}"), []).append(i)
        for live, members in groups.items():
            for first in range(0, len(members), max_batch):
                batch = members[first : first + max_batch]
                injected = [noise[i] if noise else {} for i in batch]
                y = self.solve([rows[i] for i in batch], injected, live, times, method, scales)
                for place, i in enumerate(batch):
                    results[i] = rows[i].result({name: values[place].cpu() for name, values in y.items()})
        return results

    def live_streams(self, row, where):
        """The streams that have to be computed: those that are there; both, if one alone would not be the same."""
        there = tuple(name for name, state in (("audio", row.audio_state), ("motion", row.motion_state)) if state != ABSENT)
        streams = self.about["streams"]
        live = there if len(there) == 1 and (self.runs_alone(there[0]) or len(streams) == 1) else ("audio", "motion")
        for name in live:
            if name not in streams:
                raise ValueError(f"{where}: it needs the {name} stream, and this model has none")
        return live

    def solve(self, rows, injected, live, times, method, scales):
        """y at t = 1 of the live streams. All passes of guidance are one batch to the model, pass by pass."""
        device = next(self.parameters()).device
        c = Batch.of(rows, device)
        widths = {"audio": c.mel_BTF.shape[-1], "motion": c.mouth_BMD.shape[-1]}
        frames = {"audio": c.mel_BTF.shape[1], "motion": c.mouth_BMD.shape[1]}
        states = {"audio": c.audio_state_B, "motion": c.motion_state_B}
        y = {}
        for name in live:
            key = torch.tensor([row.request.seed for row in rows]), ("audio", "motion").index(name)
            y[name] = normal(*key, frames[name], widths[name])
            for row, given in zip(y[name], injected):
                if name in given:
                    row[: len(given[name])] = torch.as_tensor(given[name])
            y[name] = y[name].to(device)
        dropped, coefficients = passes(scales, frozenset().union(*(row.present for row in rows)))
        stacked = Batch.cat([c.drop(names) for names in dropped])

        def velocity(t, y):
            x = {name: torch.cat([y[name]] * len(dropped)) for name in y}
            v = dict(zip(("audio", "motion"), self(**stacked.model_arguments(x, t))))
            guided = {name: sum(c * part for c, part in zip(coefficients, v[name].chunk(len(dropped)))) for name in y}
            return {name: v.masked_fill((states[name] != GENERATED)[:, None, None], 0) for name, v in guided.items()}

        for t, h in zip(times[:-1].to(device), times.diff().to(device)):
            y = STEPS[method](velocity, t, h, y)
        return y


# ------------------------------------------------------------------------------------------------------------------ requests


@dataclass
class Request:
    """One generation. Arrays may be shorter than the clip: what lies past their end is unknown.

    The clip is `length` mel frames (93.75 a second) and M = motion_frames(length) motion frames (25 a second).
    """

    length: int
    want_audio: bool = True
    want_motion: bool = True
    text_ids: object = None  # [N], 0-based; -1 is padding
    mel: object = None  # [T, F] log-mel, see `log_mel`
    mel_known: object = None  # [T] booleans; None: every frame of `mel`
    mouth: object = None  # [M, D] normalised
    mouth_known: object = None
    rest: object = None  # [M, R] normalised, all frames
    speech: object = None  # stage-1 models only: [M, S], all frames
    seed: int = 0


@dataclass
class Result:
    """The streams that were wanted, whole clip, known frames exactly as they were given."""

    mel: torch.Tensor | None
    mouth: torch.Tensor | None


@dataclass
class Row:
    """A request that has been checked: arrays of the clip's own length, zero (text: empty) where nothing is known."""

    request: Request
    length: int
    audio_state: int
    motion_state: int
    mel_TF: torch.Tensor
    mel_known_T: torch.Tensor
    mouth_MD: torch.Tensor
    mouth_known_M: torch.Tensor
    text_N: torch.Tensor
    rest_MR: torch.Tensor
    speech_MS: torch.Tensor
    present: frozenset  # conditions that guidance can tell apart

    def result(self, y):
        """Known frames pasted back, cut to the clip; only what was wanted."""

        def stream(name, wanted, known, given):
            if not wanted:
                return None
            return given if known.all() else torch.where(known[:, None], given, y[name][: len(given)])

        return Result(
            stream("audio", self.request.want_audio, self.mel_known_T, self.mel_TF),
            stream("motion", self.request.want_motion, self.mouth_known_M, self.mouth_MD))


def check(model, request, where="request"):
    """Checks a request and works out the states of its streams; raises ValueError."""

    def refuse(message):
        raise ValueError(f"{where}: {message}")

    def partly(name, frames, width):
        values, known = getattr(request, name), getattr(request, f"{name}_known")
        if values is None:
            if known is not None and torch.as_tensor(known).any():
                refuse(f"{name}_known marks frames as known, but {name} is missing")
            return torch.zeros(frames, width), torch.zeros(frames, dtype=torch.bool)
        values = torch.as_tensor(values, dtype=torch.float32).cpu()
        known = torch.ones(len(values), dtype=torch.bool) if known is None else torch.as_tensor(known, dtype=torch.bool).cpu()
        if values.ndim != 2 or values.shape[1] != width:
            refuse(f"{name} has shape {tuple(values.shape)}; this model needs [frames, {width}]")
        if known.ndim != 1 or known[len(values) :].any():
            refuse(f"{name}_known has shape {tuple(known.shape)}, {name} has {len(values)} frames")
        if known[frames:].any():
            refuse(f"{name} is known past the end, frame {frames}")
        known = pad(known[: min(frames, len(values))], frames)
        values = torch.where(known[:, None], pad(values[:frames], frames), 0.0)
        if not values.isfinite().all():
            refuse(f"{name} has known frames that are not finite")
        return values, known

    def whole(name, frames, width):
        values = getattr(request, name)
        if values is None:
            return torch.zeros(frames, width)
        values = torch.as_tensor(values, dtype=torch.float32).cpu()
        if values.shape != (frames, width) or not values.isfinite().all():
            refuse(f"{name} has shape {tuple(values.shape)}; finite numbers of shape {(frames, width)} are needed")
        return values

    length, audio, motion = request.length, model.audio_config, model.motion_config
    if int(length) != length or length < 1:
        refuse(f"length is {length!r}; it must be a positive number of mel frames")
    if not (request.want_audio or request.want_motion):
        refuse("neither audio nor motion is wanted")
    frames = motion_frames(length)
    mel_TF, mel_known_T = partly("mel", length, audio.mel_dim)
    mouth_MD, mouth_known_M = partly("mouth", frames, motion.mouth_dim)
    rest_MR, speech_MS = whole("rest", frames, motion.rest_dim), whole("speech", frames, motion.speech_dim)
    text_N = torch.as_tensor([] if request.text_ids is None else request.text_ids).long().cpu()
    text_N = text_N[: int((text_N != -1).nonzero().max()) + 1 if (text_N != -1).any() else 0]
    if ((text_N < 0) | (text_N >= audio.text_vocab)).any():
        refuse(f"text_ids run from {text_N.min()} to {text_N.max()}; this model knows 0 to {audio.text_vocab - 1}")

    def state(wanted, known):
        return GIVEN if known.all() else GENERATED if wanted or known.any() else ABSENT

    motion_state = state(request.want_motion, mouth_known_M)
    # text reaches the motion through the audio stream only: audio is then generated and thrown away
    audio_state = state(request.want_audio or (request.want_motion and len(text_N) > 0), mel_known_T)
    if GENERATED not in (audio_state, motion_state):
        refuse("every frame is known already; nothing is left to generate")
    if motion_state == ABSENT and request.rest is not None:
        refuse("rest is given, but motion is neither wanted nor known")
    has = {
        "text": len(text_N) > 0 and audio_state == GENERATED,  # the text of given audio is heard through that audio alone
        "audio": bool(mel_known_T.any()) or request.speech is not None,
        "motion": bool(mouth_known_M.any()),
        "rest": request.rest is not None,
    }
    present = frozenset(name for name, there in has.items() if there)
    return Row(
        request, length, audio_state, motion_state, mel_TF, mel_known_T, mouth_MD, mouth_known_M, text_N[:length], rest_MR,
        speech_MS, present)


def pad(values, size, fill=0):
    """`values` with `fill` appended along the first axis up to `size`."""
    return torch.cat([values, values.new_full((size - len(values), *values.shape[1:]), fill)])


@dataclass
class Batch:
    """Everything the model is told, apart from x_t and t."""

    audio_state_B: torch.Tensor
    motion_state_B: torch.Tensor
    mel_BTF: torch.Tensor
    mouth_BMD: torch.Tensor
    text_BN: torch.Tensor
    drop_text_B: torch.Tensor
    rest_BMR: torch.Tensor
    speech_BMS: torch.Tensor
    length_B: torch.Tensor

    @classmethod
    def of(cls, rows, device):
        """Rows padded to the longest."""
        frames = max(row.length for row in rows)

        def column(name, size, fill=0):
            return torch.stack([pad(getattr(row, name), size, fill) for row in rows])

        m = motion_frames(frames)
        fields = (
            torch.tensor([row.audio_state for row in rows]), torch.tensor([row.motion_state for row in rows]),
            column("mel_TF", frames), column("mouth_MD", m), column("text_N", frames, -1),
            torch.zeros(len(rows), dtype=torch.bool), column("rest_MR", m), column("speech_MS", m),
            torch.tensor([row.length for row in rows]),
        )  # fmt: skip
        return cls(*(field.to(device) for field in fields))

    @classmethod
    def cat(cls, batches):
        return cls(*(torch.cat(parts) for parts in zip(*(vars(batch).values() for batch in batches))))

    def drop(self, names):
        """Takes conditions away. A given stream becomes absent, a generated one loses its context; absent motion takes the rest
        of the face with it; text keeps its length."""

        def state(name, state_B):
            return torch.where(state_B == GIVEN, ABSENT, state_B) if name in names else state_B

        def zero(name, values):
            return torch.zeros_like(values) if name in names else values

        return replace(
            self,
            audio_state_B=state("audio", self.audio_state_B),
            motion_state_B=state("motion", self.motion_state_B),
            mel_BTF=zero("audio", self.mel_BTF),
            speech_BMS=zero("audio", self.speech_BMS),
            mouth_BMD=zero("motion", self.mouth_BMD),
            rest_BMR=zero("rest", self.rest_BMR),  # that of absent motion is zeroed in `model_arguments`
            drop_text_B=self.drop_text_B | ("text" in names),
        )

    def model_arguments(self, x, t):
        """What JamFlow is called with, with the streams of `x` at x_t (motion without audio is a stream alone, and vice versa).

            state       x                  context            time   its keys, for the other stream
            GENERATED   x_t                its known frames   t      seen
            GIVEN       the clean frames   the clean frames   1      seen
            ABSENT      zeros              zeros              0      masked
        """

        def by_state(state_B, generated, given):
            state = state_B.view(-1, *[1] * (generated.ndim - 1))
            return torch.where(state == GENERATED, generated, torch.where(state == GIVEN, given, 0.0))

        t_B = t.expand(len(self.length_B))
        no_audio_B, no_motion_B = self.audio_state_B == ABSENT, self.motion_state_B == ABSENT
        audio = motion = None
        if "audio" in x:
            audio = AudioInputs(
                x_BTF=by_state(self.audio_state_B, x["audio"], self.mel_BTF),
                context_BTF=self.mel_BTF.masked_fill(no_audio_B[:, None, None], 0),
                text_BN=self.text_BN.masked_fill(no_audio_B[:, None], -1),
                time_B=by_state(self.audio_state_B, t_B, torch.ones_like(t_B)),
                drop_text_B=self.drop_text_B,
            )
        if "motion" in x:
            motion = MotionInputs(
                x_BMD=by_state(self.motion_state_B, x["motion"], self.mouth_BMD),
                context_BMD=self.mouth_BMD.masked_fill(no_motion_B[:, None, None], 0),
                rest_BMR=self.rest_BMR.masked_fill(no_motion_B[:, None, None], 0),
                time_B=by_state(self.motion_state_B, t_B, torch.ones_like(t_B)),
                speech_BMS=self.speech_BMS,
            )
        return {
            "audio": audio, "motion": motion, "length_B": self.length_B,
            "joint_audio_B": ~no_motion_B, "joint_motion_B": ~no_audio_B,
        }  # fmt: skip


# ------------------------------------------------------------------------------------------------------- guidance and solver


def passes(scales, present):
    """Nested guidance v = v_0 + sum_k (1 + g_k) (v_k - v_{k-1}), collected by pass: what each drops, and its coefficient.

    A pass whose coefficient vanishes is not made: equal scales need two, scale 0 none but the conditional one.
    """
    levels = tuple(name for name in CONDITIONS if name in present)
    if not levels:
        return [()], [1.0]
    g = [scales[name] for name in levels]
    coefficients = [-g[0], *(a - b for a, b in zip(g, g[1:])), 1 + g[-1]]
    made = [(levels[k:], c) for k, c in enumerate(coefficients) if c]
    return [dropped for dropped, _ in made], [c for _, c in made]


EPSS = {  # empirically pruned steps of F5-TTS, in 1/32
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}


def time_grid(name, steps, sway=-1.0):
    """n + 1 times from 0 to 1: i / n, or t + sway (cos(pi t / 2) - 1 + t) of that ("sway") or of the pruned steps ("epss")."""
    if name not in ("uniform", "sway", "epss") or steps < 1:
        raise ValueError(f"no time grid {name!r} of {steps} steps; there are uniform, sway, epss, of 1 step or more")
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if name == "epss" and steps in EPSS:
        t = torch.tensor(EPSS[steps], dtype=torch.float64) / 32
    if name != "uniform":
        t = t + sway * (torch.cos(math.pi / 2 * t) - 1 + t)
    if (t.diff() <= 0).any():
        raise ValueError(f"sway {sway} makes time run backwards; it lies between -1 and 1.75")
    return t.float()


def move(y, h, v):
    return {name: y[name] + h * v[name] for name in y}


def euler(velocity, t, h, y):
    return move(y, h, velocity(t, y))


def midpoint(velocity, t, h, y):
    return move(y, h, velocity(t + h / 2, move(y, h / 2, velocity(t, y))))


def heun(velocity, t, h, y):
    v1 = velocity(t, y)
    v2 = velocity(t + h, move(y, h, v1))
    return move(y, h / 2, {name: v1[name] + v2[name] for name in y})


STEPS = {"euler": euler, "midpoint": midpoint, "heun": heun}


def normal(seed_B, stream, frames, width):
    """Noise [B, frames, width] of each seed: frame j hangs on (seed, stream, j) alone. The bits are those of jax.random
    (Threefry-2x32, 20 rounds), so that a seed means the same to jamflow_jax and here."""
    mask = 0xFFFFFFFF

    def threefry(key, x0, x1):
        keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
        x0, x1 = (x0 + keys[0]) & mask, (x1 + keys[1]) & mask
        for i in range(5):
            for r in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
                x0 = (x0 + x1) & mask
                x1 = (((x1 << r) & mask) | (x1 >> (32 - r))) ^ x0
            x0, x1 = (x0 + keys[(i + 1) % 3]) & mask, (x1 + keys[(i + 2) % 3] + i + 1) & mask
        return x0, x1

    zero = torch.zeros((), dtype=torch.int64)
    key = threefry((zero, (seed_B & mask)[:, None, None]), zero, zero + stream)
    key = threefry(key, zero, torch.arange(frames)[:, None])
    high, low = threefry(key, zero, torch.arange(width))
    uniform = ((high ^ low) >> 9).float() * 2.0**-23
    lowest = -1 + 2.0**-24  # the first float32 above -1
    return math.sqrt(2) * torch.erfinv((uniform * (1 - lowest) + lowest).clamp(min=lowest))


# --------------------------------------------------------------------------------------------------------------------- sound


class ConvNeXtBlock(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.dwconv, self.norm = nn.Conv1d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x_BDT):
        return x_BDT + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(self.dwconv(x_BDT).mT))))).mT


class Vocos(nn.Module):
    """Log-mel -> waveform (Vocos, mel-24khz): ConvNeXt layers, then magnitude and phase of each frame's spectrum."""

    def __init__(self, mel, width, hidden, layers):
        super().__init__()
        self.backbone, self.head = nn.Module(), nn.Module()
        self.backbone.embed, self.backbone.norm = nn.Conv1d(mel, width, 7, padding=3), nn.LayerNorm(width, eps=1e-6)
        self.backbone.convnext = nn.ModuleList(ConvNeXtBlock(width, hidden) for _ in range(layers))
        self.backbone.final_layer_norm = nn.LayerNorm(width, eps=1e-6)
        self.head.out = nn.Linear(width, N_FFT + 2)

    @classmethod
    def from_file(cls, path, device="cpu"):
        """The shape is read from the tensors. Computed in float32."""
        state = {key: value.float() for key, value in load_file(path, str(device)).items()}
        state = {key: value for key, value in state.items() if key.startswith(("backbone.", "head.out."))}
        width, mel, _ = state["backbone.embed.weight"].shape
        layers = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("backbone.convnext."))
        with torch.device("meta"):
            vocos = cls(mel, width, len(state["backbone.convnext.0.pwconv1.bias"]), layers)
        vocos.load_state_dict(state, assign=True)
        return vocos.requires_grad_(False).eval()

    def forward(self, mel_BTF):
        """[B, T, 100] -> samples [B, (T - 1) * 256] at 24 kHz."""
        b = self.backbone
        x_BDT = b.norm(b.embed(mel_BTF.to(b.embed.weight).mT).mT).mT
        for block in b.convnext:
            x_BDT = block(x_BDT)
        magnitude, phase = self.head.out(b.final_layer_norm(x_BDT.mT)).mT.chunk(2, 1)
        spectrum = torch.polar(magnitude.exp().clamp(max=1e2), phase)
        return torch.istft(spectrum, N_FFT, HOP, window=torch.hann_window(N_FFT, device=spectrum.device))


def log_mel(audio_N):
    """Samples in [-1, 1] at 24 kHz -> [N // 256 + 1, 100]: 100 HTK bands from 0 to 12 kHz of magnitudes, as F5-TTS has them."""
    spectrum = torch.stft(audio_N, N_FFT, HOP, window=torch.hann_window(N_FFT), pad_mode="reflect", return_complex=True)
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    centre = 700 * (10 ** (torch.linspace(0, top, 102, dtype=torch.float64) / 2595) - 1)
    nu = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    rise, fall = (nu - centre[:-2]) / centre.diff()[:-1], (centre[2:] - nu) / centre.diff()[1:]
    return (spectrum.abs().mT @ torch.minimum(rise, fall).clamp(min=0).float()).clamp(min=1e-5).log()


def speech_of_mel(mel_TF):
    """Speech features of a stage-1 model trained on the mel itself: mel frames averaged over each motion frame [M, F]."""
    share_MT = (MEL_TICKS * torch.arange(len(mel_TF)) // MOTION_TICKS == torch.arange(motion_frames(len(mel_TF)))[:, None]).float()
    return share_MT @ mel_TF / share_MT.sum(1, keepdim=True).clamp(min=1)


def pinyin(text):
    """Text -> characters and pinyin syllables, by the rules of F5-TTS's checkpoints (needs rjieba and pypinyin)."""
    import rjieba
    from pypinyin import Style, lazy_pinyin

    def chinese(character):
        return "\u3100" <= character <= "\u9fff"

    def speak(part):
        return lazy_pinyin(part, style=Style.TONE3, tone_sandhi=True, errors=list)

    tokens = []
    for piece in rjieba.cut(text.translate(str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"}))):
        width = len(piece.encode())
        if width == len(piece):
            tokens += [" "] if tokens and width > 1 and tokens[-1] not in " :'\"" else []
            tokens += piece
            continue
        spoken = speak(piece) if width == 3 * len(piece) else [speak(c)[0] if chinese(c) else c for c in piece]
        for character, syllable in zip(piece, spoken):
            tokens += (" ", syllable) if chinese(character) else (syllable,)
    return tokens


# ---------------------------------------------------------------------------------------------------------------------- demo


def read_wav(path):
    try:
        file = wave.open(str(path))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not a wav file ({error})") from None
    with file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{path}: 24 kHz, one channel, 16 bits are needed")
        if file.getnframes() < N_FFT:
            raise ValueError(f"{path}: {file.getnframes()} samples; at least {N_FFT} are needed, one window of the mel")
        samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
    return samples.float() / 32768


def write_wav(path, audio_N):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(bytes((audio_N.clamp(-1, 1) * 32767).short().contiguous().untyped_storage()))


def main():
    parser = argparse.ArgumentParser(description="Speech and facial motion from text, or facial motion from speech.")
    parser.add_argument("--model", default=Path(__file__).parent, metavar="FOLDER", help="default: where this file lies")
    parser.add_argument("--text", help="what is said")
    parser.add_argument("--audio", metavar="WAV", help="given speech, 24 kHz mono: motion is made for it")
    parser.add_argument("--ref-audio", metavar="WAV", help="a voice to go on in")
    parser.add_argument("--ref-text", default="", help="what the reference says")
    parser.add_argument("--seconds", type=float, help="of the result; default: of --audio, or 15 letters a second")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="sample", metavar="NAME", help="of NAME.pt (mel, motion) and NAME.wav")
    o = parser.parse_args()
    if bool(o.text) == bool(o.audio):
        parser.error("one of --text and --audio is needed")
    try:
        demo(o)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))


def demo(o):
    model = JamFlow.from_pretrained(o.model, o.device)
    for origin in model.origins:
        print("{part}: weights from {source}, licence {licence}".format(**origin), file=sys.stderr)
    given = o.audio or o.ref_audio
    mel = log_mel(read_wav(given)) if given else torch.zeros(0, 100)
    if o.audio:
        prefix, new = 0, len(mel)
        request = Request(new, mel=mel, want_audio=False, seed=o.seed)
        if model.about["stage"] == 1:
            if model.about["speech"] != "mel":
                raise ValueError("--audio: this stage-1 model hears features of its data set, not the mel; give them from Python: "
                                 "Request(speech=...)")  # fmt: skip
            request = replace(request, mel=None, speech=speech_of_mel(mel))
    else:
        if "audio" not in model.about["streams"]:
            raise ValueError("--text: it needs the audio stream, and this model has none; try --audio")
        mel = mel[len(mel) % 15 :]  # whole 0.16 s, so that both streams are cut between frames
        prefix, new = len(mel), math.ceil((o.seconds or len(o.text.encode()) / 15) * SAMPLE_RATE / HOP)
        text = model.encode(" ".join(filter(None, (o.ref_text, o.text))))
        both_streams = "motion" in model.about["streams"]
        request = Request(prefix + new, text_ids=text, mel=mel if prefix else None, want_motion=both_streams, seed=o.seed)
    (result,) = model.generate([request], steps=o.steps, guidance=o.guidance)
    found = {}
    if result.mouth is not None:
        found["motion"] = model.raw_motion(result.mouth)[prefix * MEL_TICKS // MOTION_TICKS :].contiguous()
    if result.mel is not None:
        found["mel"] = result.mel[prefix:].contiguous()
        if model.vocoder is None:
            print("no vocoder in the folder: the log-mel is written, no sound", file=sys.stderr)
        else:
            sound = model.vocoder(result.mel[None])[0, prefix * HOP :].cpu()
            write_wav(f"{o.out}.wav", sound)
            print(f"{o.out}.wav: {len(sound) / SAMPLE_RATE:.2f} s")
    torch.save(found, f"{o.out}.pt")  # safetensors needs NumPy to write
    print(f"{o.out}.pt: " + ", ".join(f"{name} {list(value.shape)}" for name, value in found.items()))


if __name__ == "__main__":
    main()
