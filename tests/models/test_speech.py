"""Speech of any length."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models import speech

ROOT = Path(__file__).resolve().parents[2]


def draw(seed: int, *size: int) -> np.ndarray:
    return speech.batch(np.random.default_rng(seed), *size)


@given(st.integers(1, 3), st.integers(2, 900), st.integers(8, 80), st.integers(0, 99))
def test_batches_have_exactly_the_size_asked_for(batch, frames, bands, seed):
    features = draw(seed, batch, frames, bands)
    assert features.shape == (batch, frames, bands)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_one_frame_is_finite():
    assert np.isfinite(draw(0, 2, 1)).all()


def test_recordings_longer_than_all_sentences_of_a_speaker_are_given_too():
    longest = max(sum(map(len, spoken)) for spoken in speech._spoken())
    assert draw(0, 1, longest // speech.HOP + 500, 8).shape[1] > longest // speech.HOP


def test_bands_have_mean_0_and_deviation_1():
    features = draw(0, 2, 700)
    np.testing.assert_allclose(features.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(1), 1, atol=1e-2)


def test_features_follow_the_generator_and_differ():
    first, again, other = (draw(seed, 4, 100) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({row.tobytes() for row in first}) == 4


def test_every_process_hears_the_same():
    """The synthesiser makes breath of random numbers, and keeps a state between sentences."""
    program = (
        "import hashlib, numpy as np\n"
        "from models import speech\n"
        "features = speech.batch(np.random.default_rng(7), 6, 500)\n"
        "print(hashlib.sha256(features.tobytes()).hexdigest())\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert process.stdout.strip() == hashlib.sha256(draw(7, 6, 500).tobytes()).hexdigest()


# The sound


def test_sentences_are_english_prose():
    sentences = speech.sentences()
    assert len(set(sentences)) == len(sentences) > 300
    assert all(s[0].isupper() and s.endswith(".") and s.count(" ") >= 2 for s in sentences)
    assert sum("the " in s for s in sentences) > len(sentences) / 4


def test_sentences_last_as_long_as_they_would_when_read():
    """Some 10 to 25 characters a second, between the shortest and the longest."""
    spoken = speech._spoken()
    seconds = np.array([len(sentence) / speech.RATE for row in spoken for sentence in row])
    assert seconds.min() > 0.5 and 5 < seconds.max() < 30
    texts = speech.sentences()
    chosen = [texts[i] for i in np.linspace(0, len(texts) - 1, len(seconds)).astype(int)]
    rate = np.array(list(map(len, chosen))) / seconds
    assert 10 < np.median(rate) < 25
    assert np.corrcoef([list(map(len, chosen)), seconds])[0, 1] > 0.9


def test_speech_has_voiced_sounds_and_pauses():
    for spoken in speech._spoken():
        loudness = [np.exp(speech.log_mel(s / np.float32(2**15))).sum(1) for s in spoken]
        ratio = np.concatenate(loudness) / np.mean(np.concatenate(loudness))
        assert 0.03 < (ratio < 0.01).mean() < 0.6
        assert 0.05 < (ratio > 1).mean() < 0.6
        # Voiced sounds repeat with the pitch: 60 to 400 times a second.
        assert 60 < _pitch(np.concatenate(spoken)) < 400


def _pitch(samples: np.ndarray) -> float:
    """Median over loud windows of the lag at which they best match themselves."""
    windows = samples[: len(samples) // 1024 * 1024].reshape(-1, 1024).astype(float)
    loud = windows[windows.std(1) > np.quantile(windows.std(1), 0.7)]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2048)) ** 2)[:, :500]
    shortest = speech.RATE // 500
    best = correlation[:, shortest:].max(1) / correlation[:, 0]
    assert np.median(best) > 0.5
    return speech.RATE / float(np.median(shortest + correlation[:, shortest:].argmax(1)))


def test_requests_have_natural_lengths_in_bounds():
    lengths = speech.request_frames(np.random.default_rng(0), 200, 150, 900)
    assert len(lengths) == 200 and all(isinstance(n, int) for n in lengths)
    assert 150 <= min(lengths) < 250 and 700 < max(lengths) <= 900
    assert len(set(lengths)) > 80


def test_lengths_that_no_sentence_has_are_refused():
    with pytest.raises(ValueError, match="no sentences last from 1 to 10 frames"):
        speech.request_frames(np.random.default_rng(0), 1, 1, 10)


# The features


def test_a_tone_is_loudest_in_its_band():
    seconds = np.arange(speech.RATE) / speech.RATE
    centres = speech._hertz(np.linspace(0, speech._mel(8000), 82))[1:-1]
    for band in (10, 40, 70):
        tone = np.sin(2 * np.pi * centres[band] * seconds)
        assert (speech.log_mel(tone)[5:-5].argmax(1) == band).all()


@pytest.mark.parametrize("bands", [16, 80])
def test_features_equal_those_of_transformers(bands):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    extractor = transformers.ParakeetFeatureExtractor(feature_size=bands)
    samples = speech._spoken()[0][0].astype(np.float32) / 2**15
    wanted = extractor(samples, sampling_rate=speech.RATE, return_tensors="pt")
    frames = len(samples) // speech.HOP
    assert int(torch.sum(wanted["attention_mask"])) == frames
    seen = speech._normalise(speech.log_mel(samples, bands))
    # Where there is silence, the logarithm magnifies what single precision leaves of it.
    close = np.isclose(seen, wanted["input_features"][0, :frames].numpy(), atol=2e-3)
    assert close.mean() > 0.999
    np.testing.assert_allclose(seen, wanted["input_features"][0, :frames], atol=0.1)


def test_a_missing_package_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match="pip install espeakng-loader"):
        speech._Synthesiser()
