from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.rdp.concrete import outputs

F = np.float32


def test_batch_and_free_axes_are_aligned():
    facts, (out,) = outputs(
        lambda x, y: jnp.einsum("bsd,btd->bst", x, y), ("b, s, 4", F), ("b, t, 4", F)
    )
    assert str(facts.shape(out)) == "[b, s, t]"
    assert facts.flow(out) == ({(0, 0), (1, 0)}, {(0, 1)}, {(1, 1)})


def test_demand_on_free_axes():
    facts, _ = outputs(lambda x, w: (x @ w)[:, 0], ("b, s, 4", F), ("4, 4", F))
    assert [str(facts.demand(var)) for var in facts.jaxpr.invars] == ["[:, 0:1, :]", "[:, :]"]


def test_convolution_keeps_examples_and_filters_apart():
    def function(x, w):
        return lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))

    facts, (out,) = outputs(function, ("b, s, 2", F), ("3, 2, 5", F))
    assert facts.flow(out) == ({(0, 0)}, frozenset(), {(1, 2)})
