"""The corpus of real token sequences."""

from __future__ import annotations

import inspect
import textwrap

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models import source_code

VOCAB, LONGEST = 8192, 512


@given(st.text(st.characters(codec="latin-1")))
def test_pieces_join_to_the_text(text):
    assert "".join(source_code.tokenize(text)) == text


def test_code_is_cut_as_byte_pair_encodings_cut_it():
    pieces = source_code.tokenize("def initialize(self):\n    return __all__[12]\n")
    assert pieces == [
        *("def", " initia", "lize", "(", "self", "):", "\n"),
        *("    ", "return", " ", "__", "all", "__", "[", "12", "]", "\n"),
    ]


def test_snippets_are_whole_and_in_range():
    snippets = source_code.snippets(VOCAB, LONGEST)
    assert len(snippets) > 2000
    for ids in snippets:
        assert ids.dtype == np.int32 and ids.ndim == 1 and len(ids) <= LONGEST
        assert ids[0] == source_code.BOS_ID and ids[-1] == source_code.EOS_ID
        assert ids[1:-1].min() > source_code.EOS_ID and ids.max() < VOCAB


def test_snippets_do_not_depend_on_the_limit():
    lengths = [len(ids) for ids in source_code.snippets(VOCAB, LONGEST)]
    short = [len(ids) for ids in source_code.snippets(99, 64)]
    assert short == [n for n in lengths if n <= 64]


def test_snippets_are_distinct_code_of_this_interpreter():
    texts = source_code.texts()
    assert len(set(texts)) == len(texts)
    assert all(text.startswith(("def ", "class ", "async def ", "@")) for text in texts)
    assert inspect.getsource(textwrap.dedent) in texts


def test_tokens_hold_about_three_characters():
    texts = source_code.texts()
    tokens = sum(len(source_code.tokenize(text)) for text in texts)
    assert 3 < sum(map(len, texts)) / tokens < 4


def test_requests_at_batch_one_are_unpadded():
    stream = source_code.requests(60, 1, 0, VOCAB, LONGEST)
    assert len(stream) == 60
    assert all(len(request) == 1 for request in stream)
    assert all(ids.shape[0] == 1 and ids.dtype == np.int32 for (ids,) in stream)
    assert not any((ids == source_code.PAD_ID).any() for (ids,) in stream)
    lengths = [ids.shape[1] for (ids,) in stream]
    assert min(lengths) >= 16 and max(lengths) <= LONGEST
    assert len(set(lengths)) > 40


def test_requests_in_batches_are_padded_to_the_longest():
    for ids, mask in source_code.requests(20, 4, 0, VOCAB, LONGEST):
        assert ids.shape == mask.shape and ids.shape[0] == 4
        assert ids.dtype == mask.dtype == np.int32
        lengths = mask.sum(axis=1)
        assert lengths.max() == ids.shape[1]
        np.testing.assert_array_equal(mask, np.arange(ids.shape[1]) < lengths[:, None])
        np.testing.assert_array_equal(mask == 0, ids == source_code.PAD_ID)


def test_requests_follow_the_seed():
    first, again, other = (source_code.requests(5, 2, s, VOCAB, LONGEST) for s in (3, 3, 4))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], same[0])
    assert [ids.shape for ids, _ in first] != [ids.shape for ids, _ in other]


def test_more_requests_than_snippets_are_possible():
    count = len(source_code.snippets(99, 20)) + 1
    assert len(source_code.requests(count, 1, 0, 99, 20)) == count


@given(st.integers(1, 5), st.integers(1, LONGEST), st.integers(0, 99))
def test_padded_batch_has_exactly_the_shape_asked_for(batch, length, seed):
    rng = np.random.default_rng(seed)
    ids, mask = source_code.padded_batch(rng, batch, length, VOCAB)
    assert ids.shape == mask.shape == (batch, length)
    assert mask.sum(axis=1).max() == length
    last = ids[np.arange(batch), mask.sum(axis=1) - 1]
    assert (last == source_code.EOS_ID).all()


def test_lengths_that_no_snippet_has_are_refused():
    with pytest.raises(ValueError, match="the longest snippet has"):
        source_code.padded_batch(np.random.default_rng(0), 1, 10**6, VOCAB)


def test_vocabulary_must_hold_more_than_the_special_tokens():
    with pytest.raises(ValueError, match="vocab_size must be above 3, got 3"):
        source_code.snippets(3, LONGEST)
