"""The yardstick of the integer front end: the same features by torchaudio in float64. Nothing trains on it."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from mcu_codegen.listen import frontend
from mcu_codegen.listen.frontend import FrontEnd

from .torchaudio_import import torchaudio


def codes(front_end: FrontEnd, audio: np.ndarray) -> np.ndarray:
    """float64[frames, coefficients] of int16 `audio` [n]: the features in codes, neither rounded nor clamped."""
    edge = (frontend.FFT - front_end.window) // 2  # torch centres the window in the transform
    signal = torch.nn.functional.pad(torch.from_numpy(audio.astype(np.float64) / 32768), (edge, edge))
    logs = torch.log(_mel(front_end)(signal).clamp(min=math.exp(front_end.floor_nats))).T
    if front_end.coefficients < front_end.bands:
        logs = logs @ torchaudio.functional.create_dct(front_end.coefficients, front_end.bands, "ortho").double()
    return (logs / front_end.scale + front_end.zero_point).numpy()


@functools.cache
def _mel(front_end: FrontEnd) -> torch.nn.Module:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=frontend.SAMPLE_RATE,
        n_fft=frontend.FFT,
        win_length=front_end.window,
        hop_length=front_end.hop,
        f_min=front_end.low_hz,
        f_max=front_end.high_hz,
        n_mels=front_end.bands,
        center=False,
        norm=None,
        mel_scale="htk",
    ).double()
