"""The loop over rows runs those that are active, once each, and leaves the others alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.rows.loop import over_rows


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("rows", "block"), [(1, 1), (7, 1), (7, 3), (1, 3)])
def test_active_rows_are_written_and_others_kept(rows, block, axis):
    array = np.arange(rows * 2, dtype=np.float32).reshape((rows, 2) if axis == 0 else (2, rows))

    @jax.jit
    def run(active, array):
        counts = jnp.zeros(rows, np.int32)

        def body(read, results):
            return [10 * read(array, axis), 1 + read(results[1], 0)]

        return over_rows(active, block, (axis, 0), body, [array, counts])

    @given(st.lists(st.booleans(), min_size=rows, max_size=rows))
    def law(active):
        new, counts = run(np.array(active), array)
        factors = np.where(active, 10, 1).reshape((-1, 1) if axis == 0 else (1, -1))
        assert (np.asarray(new) == array * factors).all()
        assert counts.tolist() == active

    law()
