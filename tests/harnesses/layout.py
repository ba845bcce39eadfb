"""Programs that rearrange axes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.harnesses.base import Arg, Harness

BS4 = Arg("b, s, 4")

HARNESSES = [
    # What jnp.empty holds means nothing; jax 0.12 has a primitive for it.
    Harness("empty_overwritten", lambda x: jnp.empty(x.shape).at[:].set(x), (Arg("b, s"),)),
    Harness("empty_unseen", lambda x: jnp.where(True, x, jnp.empty_like(x)), (Arg("b, s"),)),
    Harness("empty_shape", lambda x: jnp.empty((x.shape[1], 2)).shape[0] * x, (Arg("b, s"),)),
    Harness("reshape_merge", lambda x: x.reshape(-1, 4), (BS4,)),
    Harness("reshape_merge_all", lambda x: x.reshape(-1), (BS4,)),
    Harness("reshape_merge_split", lambda x: (x.reshape(-1, 4) * 2).reshape(x.shape), (BS4,)),
    Harness(
        "reshape_split_compact", lambda x, y: x.reshape(y.shape) + y, (Arg("b*s"), Arg("b, s"))
    ),
    Harness("reshape_split_heads", lambda x: x.reshape(*x.shape[:2], 2, 2).swapaxes(1, 2), (BS4,)),
    Harness("reshape_join_inner", lambda x: x.reshape(x.shape[0], -1), (BS4,)),
    Harness("reshape_outer_integer", lambda x: x.reshape(-1), (Arg("4, s"),)),
    Harness("reshape_swap", lambda x: x.reshape(x.shape[1], x.shape[0]), (Arg("b, s"),)),
    # No factor of the operand's lanes is one of the result's: s + 1 has no half.
    Harness(
        "reshape_swap_with_one_more",
        lambda x: jnp.concatenate([x, x[:, :1]], 1).reshape(x.shape[1] + 1, 2),
        (Arg("2, s"),),
    ),
    Harness("merged_plus_compact", lambda x, y: x.reshape(-1) + y, (Arg("b, s"), Arg("b*s"))),
    Harness("transpose", lambda x: x.transpose(2, 0, 1), (BS4,)),
    Harness(
        "broadcast_new_axis", lambda x: jnp.broadcast_to(x[:, None], (*x.shape, 3)), (Arg("s"),)
    ),
    Harness("squeeze", lambda x: x.squeeze(1), (Arg("s, 1, 3"),)),
    Harness("outer_sum", lambda x, y: x[:, None] + y[None, :], (Arg("s"), Arg("t"))),
    Harness("iota", lambda x: jnp.arange(x.shape[0], dtype=np.float32) + x, (Arg("s"),)),
]
