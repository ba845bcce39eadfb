"""Pointwise programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.harnesses.base import Arg, Harness

BS = Arg("b, s")

HARNESSES = [
    Harness("add_broadcast", lambda x, y: x + y[None], (BS, Arg("s"))),
    Harness("where_scalar", lambda x: jnp.where(x > 0, x, -1.0), (BS,)),
    Harness("gelu", jax.nn.gelu, (BS,)),
    Harness("integer_arithmetic", lambda x: (x * 3 - 1) // 2 % 5, (Arg("s", np.int32),)),
    Harness("size_as_number", lambda x: x * x.shape[1] + x.shape[0] // 2, (BS,)),
    Harness("convert_to_bool_and_back", lambda x: x.astype(bool).astype(jnp.float32), (BS,)),
]
