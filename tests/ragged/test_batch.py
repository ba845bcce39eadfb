"""What padded arguments print."""

from __future__ import annotations

import jax
import numpy as np

import sod2jax


def test_padded_arguments_and_results_print_their_shapes():
    data, sizes = np.ones((3, 5), np.float32), np.array([1, 5, 2], np.int32)
    assert repr(sod2jax.Ragged(data, sizes)) == "Ragged(float32[3, 5], sizes=[1, 5, 2])"
    many = sod2jax.Ragged({"a": data}, {"n": np.arange(100)})
    assert repr(many) == (
        "Ragged({'a': float32[3, 5]}, sizes={'n': [ 0,  1,  2, ..., 97, 98, 99]})"
    )
    printed = []
    jax.jit(lambda *pair: printed.append(repr(sod2jax.Ragged(*pair))))(data, sizes)
    assert printed == ["Ragged(float32[3, 5], sizes=int32[3])"]
