from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

BS = ("b, s + 3", np.float32)
B, NONE = {(0, 0)}, frozenset()

VALUES = {
    "argmax": (lambda x: jnp.argmax(x, 1), "0..s + 2", (B,)),
    "argsort": (lambda x: jnp.argsort(x, 1), "0..s + 2", (B, NONE)),
    "top_k": (lambda x: lax.top_k(x, 2)[1], "0..s + 2", (B, NONE)),
    "top_values": (lambda x: lax.top_k((x > 0).astype(np.int32) + 4, 2)[0], "4..5", (B, NONE)),
    "counts": (lambda x: jnp.cumsum(x > 0, 1), "0..s + 3", (B, NONE)),
    "from_end": (
        lambda x: lax.cumsum((x > 0).astype(np.int32) - 1, 1, reverse=True),
        "-s - 3..0",
        (B, NONE),
    ),
    "running": (lambda x: lax.cummax((x > 0).astype(np.int32) + 1, 1), "1..2", (B, NONE)),
    "products": (lambda x: jnp.cumprod(x > 0, 1), "nac", (B, NONE)),
}


@pytest.mark.parametrize("name", VALUES)
def test_value_and_flow(name):
    function, value, flow = VALUES[name]
    facts, (out,) = outputs(function, BS)
    assert str(facts.value(out)) == value
    assert facts.flow(out) == flow


def test_demand_off_the_axis():
    facts, _ = outputs(lambda x: jnp.sort(x, 1)[1, :1], BS, constraints=("b >= 2",))
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[1:2, :]"
