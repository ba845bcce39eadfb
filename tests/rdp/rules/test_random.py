from __future__ import annotations

import jax
import numpy as np

from tests.rdp.concrete import outputs


def test_each_key_decides_its_row():
    def function(data, x):
        keys = jax.random.wrap_key_data(data)
        return jax.vmap(lambda key, row: row + jax.random.uniform(key, row.shape))(keys, x)

    facts, (out,) = outputs(function, ("b, 2", np.uint32), ("b, s", np.float32))
    assert facts.flow(out) == ({(0, 0), (1, 0)}, {(1, 1)})


def test_key_data_keeps_the_rows():
    facts, (out,) = outputs(
        lambda data: jax.random.key_data(jax.random.wrap_key_data(data)), ("b, 2", np.uint32)
    )
    assert facts.flow(out) == ({(0, 0)}, frozenset())
