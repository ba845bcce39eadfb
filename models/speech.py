"""Speech of any length, as the log-mel features that speech models read.

The eSpeak NG synthesiser, whose library and voices the wheel of espeakng-loader carries, reads
sentences out of docstrings of Python's standard library, in several voices. Nothing is downloaded
and no sound is played. The sentences are those of the running interpreter, so they differ a little
between Python versions; within one they are always the same, and so is every sample.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import re
from collections.abc import Iterator

import numpy as np

from models import source_code

RATE = 16000  # samples per second
HOP = 160  # samples per frame: 10 ms
_WINDOW = 400
_FFT = 512
_PREEMPHASIS = 0.97
_LEAST_POWER = 2.0**-24
_LEAST_STD = 1e-5

# Male and female variants of the American voice, with a pitch and a speed in words per minute.
_SPEAKERS = (
    ("en-us+m1", 45, 150),
    ("en-us+f1", 55, 165),
    ("en-us+m3", 35, 175),
    ("en-us+f2", 60, 185),
    ("en-us+m7", 50, 200),
    ("en-us+f4", 45, 160),
)
_SENTENCES_EACH = 24
_SENTENCE = re.compile(r"(?<!\S)[A-Z][a-z]+(?:\s+[a-z]+(?:'[a-z]+)?,?){2,40}[.](?!\S)")

# Constants of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_PITCH, _SPEED = 3, 1
_BY_CHARACTER, _UTF8 = 1, 1
_OK = 0


def batch(rng: np.random.Generator, batch: int, frames: int, bands: int = 80) -> np.ndarray:
    """Log-mel features of recordings of exactly `frames` frames, each of one speaker.

    A speaker says whole sentences in a random order; the last one is cut.

    Args:
      rng: chooses speakers and sentences.
      batch: number of recordings.
      frames: of 10 ms.
      bands: of the mel scale.

    Returns:
      float32 [batch, frames, bands]; in each recording a band has mean 0 and deviation 1.
    """
    rows = [log_mel(_recording(rng, frames * HOP), bands) for _ in range(batch)]
    return np.stack([_normalise(row) for row in rows])


def request_frames(rng: np.random.Generator, count: int, shortest: int, longest: int) -> list[int]:
    """Lengths as they come: those of one, two or three of the spoken sentences, uncut.

    Args:
      rng: chooses among the lengths in range.
      count: number of lengths.
      shortest: lower bound, in frames of 10 ms.
      longest: upper bound, in frames.

    Raises:
      ValueError: if no length is in range.
    """
    in_range = [frames for frames in _natural_frames() if shortest <= frames <= longest]
    if not in_range:
        raise ValueError(f"no sentences last from {shortest} to {longest} frames")
    return rng.choice(in_range, size=count).tolist()


def log_mel(samples: np.ndarray, bands: int = 80) -> np.ndarray:
    """Logarithms of the power in mel bands, for windows of 25 ms centred 10 ms apart.

    Args:
      samples: float [n], from -1 to 1, at 16 kHz.
      bands: of the mel scale from 0 to 8 kHz, each of the same area.

    Returns:
      float32 [n // 160, bands].
    """
    emphasised = samples.astype(np.float64)
    emphasised[1:] -= _PREEMPHASIS * samples[:-1]
    padded = np.pad(emphasised, _FFT // 2)
    starts = HOP * np.arange(len(samples) // HOP)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[starts]
    hann = np.pad(np.hanning(_WINDOW), (_FFT - _WINDOW) // 2)
    power = np.abs(np.fft.rfft(windows * hann)) ** 2
    return np.log(power @ mel_filters(bands) + _LEAST_POWER).astype(np.float32)


@functools.cache
def mel_filters(bands: int) -> np.ndarray:
    """Triangles over the bins of the Fourier transform, [257, bands], on Slaney's mel scale."""
    corners = _hertz(np.linspace(0, _mel(RATE / 2), bands + 2))
    frequencies = np.linspace(0, RATE / 2, _FFT // 2 + 1)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies - low) / (middle - low)
    falling = (high - frequencies) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)


# Slaney's scale is linear up to 1 kHz and logarithmic above: 15 mel, then 27 for a factor of 6.4.


def _mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def _normalise(features: np.ndarray) -> np.ndarray:
    std = np.sqrt(((features - features.mean(0)) ** 2).sum(0) / max(1, len(features) - 1))
    return (features - features.mean(0)) / (std + np.float32(_LEAST_STD))


def _recording(rng: np.random.Generator, samples: int) -> np.ndarray:
    spoken = _spoken()[rng.integers(len(_SPEAKERS))]
    said, missing = [], samples
    while missing > 0:
        for i in rng.permutation(len(spoken)):
            said.append(spoken[i])
            missing -= len(spoken[i])
    return np.concatenate(said)[:samples].astype(np.float32) / np.float32(2**15)


def _natural_frames() -> Iterator[int]:
    for spoken in _spoken():
        lengths = [len(sentence) for sentence in spoken]
        for count in (1, 2, 3):
            for i in range(len(lengths) - count + 1):
                yield sum(lengths[i : i + count]) // HOP


# Speaking


def sentences() -> list[str]:
    """Sentences of plain words, each once, from docstrings of the standard library; in order."""
    found: dict[str, None] = {}
    for text in source_code.texts():
        body = ast.parse(text).body[0]
        assert isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        matches = _SENTENCE.findall(ast.get_docstring(body) or "")
        found.update(dict.fromkeys(" ".join(match.split()) for match in matches))
    return list(found)


@functools.cache
def _spoken() -> tuple[tuple[np.ndarray, ...], ...]:
    """What each speaker says: sentences, int16 [n] at 16 kHz, between pauses.

    All is spoken at once and in one order, since the synthesiser carries a state from sentence to
    sentence.
    """
    texts = sentences()
    chosen = np.linspace(0, len(texts) - 1, len(_SPEAKERS) * _SENTENCES_EACH).astype(int)
    synthesiser = _Synthesiser()
    spoken = []
    for (voice, pitch, speed), mine in zip(
        _SPEAKERS, chosen.reshape(len(_SPEAKERS), -1), strict=True
    ):
        synthesiser.set_voice(voice, pitch, speed)
        spoken.append(tuple(_resample(synthesiser.say(texts[i]), synthesiser.rate) for i in mine))
    synthesiser.close()
    return tuple(spoken)


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """To 16 kHz, by cutting the spectrum off: int16 as it was."""
    length = len(samples) * RATE // rate
    resampled = np.fft.irfft(np.fft.rfft(samples)[: length // 2 + 1], length)
    scaled = np.rint(resampled * (length / len(samples)))
    return np.clip(scaled, -(2**15), 2**15 - 1).astype(np.int16)


class _Synthesiser:
    """eSpeak NG; it has one state for the whole process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ImportError("speech needs: pip install espeakng-loader") from error
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT)
        if self.rate <= 0:
            raise RuntimeError(f"eSpeak NG does not start with the voices in {data.decode()}")
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(0))
        self._said: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        # Kept, because the library does not.
        self._callback = kind(self._take)
        self._lib.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        del events
        if samples and count > 0:
            self._said.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def set_voice(self, name: str, pitch: int, speed: int) -> None:
        if self._lib.espeak_SetVoiceByName(name.encode()) != _OK:
            raise RuntimeError(f"eSpeak NG has no voice {name}")
        self._lib.espeak_SetParameter(_PITCH, pitch, 0)
        self._lib.espeak_SetParameter(_SPEED, speed, 0)

    def say(self, text: str) -> np.ndarray:
        """Samples, int16 [n], at `rate`."""
        self._said.clear()
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        if self._lib.espeak_Synth(data, size, 0, _BY_CHARACTER, 0, _UTF8, None, None) != _OK:
            raise RuntimeError(f"eSpeak NG does not say {text!r}")
        return np.concatenate(self._said)

    def close(self) -> None:
        self._lib.espeak_Terminate()
