"""Programs with an axis of fixed size 0 beside axes that vary: there is nothing to take lanes from.

Reductions, contractions and paddings make something of nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

B04 = Arg("b, 0, 4")
BS4 = Arg("b, s, 4")
BS0 = Arg("b, s, 0")
IDS = Arg("s", np.int32)

HARNESSES = [
    Harness("empty_reshape_merge", lambda x: x.reshape(-1, 4), (B04,)),
    Harness("empty_reshape_swap", lambda x: x.reshape(x.shape[1], x.shape[0], 0), (BS0,)),
    Harness("empty_reshape_lost", lambda x: x.reshape(0, x.shape[1]), (Arg("b, 0, s"),)),
    Harness("empty_reductions", lambda x: (x.sum(1), x.sum(0), x.sum(), x.prod(1)), (B04,)),
    Harness("empty_sort", lambda x: (jnp.sort(x, 1), jnp.argsort(x, 0)), (B04,)),
    Harness("empty_argmax", lambda x: jnp.argmax(x, 0), (B04,)),
    Harness("empty_top_none", lambda x: lax.top_k(x, 0), (Arg("b, s"),)),
    Harness(
        "empty_cumulative",
        lambda x: (jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True), lax.cummax(x, 1)),
        (B04,),
    ),
    Harness("empty_concatenate", lambda x, y: jnp.concatenate([y, x, y], 1), (Arg("b, 0, 4"), BS4)),
    Harness(
        "empty_pad",
        lambda x: jnp.pad(x, ((0, 1), (1, 2), (0, 0)), constant_values=3),
        (B04,),
    ),
    Harness(
        "empty_pad_symbolic",
        lambda x: jnp.pad(x, ((0, 1), (x.shape[0], 2), (0, 0)), constant_values=3),
        (B04,),
    ),
    Harness(
        "empty_pad_interior", lambda x: lax.pad(x, 1.0, ((0, 1, 1), (1, 2, 1))), (Arg("b, 0"),)
    ),
    Harness("empty_slice", lambda x: (x[1:], x[:, 1:], x[::-2, ::-1]), (B04,)),
    Harness("empty_contraction", lambda x, y: x @ y, (Arg("b, 0"), Arg("0, s"))),
    Harness("empty_outer", lambda x: x.T @ x, (Arg("s, 0"),)),
    Harness("empty_take", lambda x, i: jnp.take(x, i, axis=0), (B04, IDS)),
    Harness("empty_take_nothing", lambda x, i: x[i], (Arg("b, 4"), Arg("s, 0", np.int32))),
    Harness(
        "empty_take_filled",
        lambda x, i: jnp.take(x, i, axis=1, mode="fill"),
        (B04, Arg("0", np.int32)),
    ),
    Harness("empty_scatter", lambda x, i: x.at[i].add(1.0), (B04, IDS)),
    Harness(
        "empty_scatter_nothing", lambda x, i: x.at[i].set(1.0), (Arg("b, 4"), Arg("s, 0", np.int32))
    ),
    Harness(
        "empty_dynamic_update_slice",
        lambda x, y: lax.dynamic_update_slice(x, y, (1, 1, 0)),
        (BS4, B04),
    ),
    Harness("empty_scan", lambda x: lax.scan(lambda c, r: (c + r.sum(), r * 2), 0.0, x), (B04,)),
    Harness(
        "empty_scan_of_nothing",
        lambda x: lax.scan(lambda c, r: (c + r.sum(), r * 2), 0.0, x.swapaxes(0, 1)),
        (B04,),
    ),
    Harness("empty_grad", jax.grad(lambda x: (x * x).sum()), (B04,)),
    Harness(
        "empty_convolution_channels",
        lambda x, w: lax.conv_general_dilated(x, w, (1,), "SAME"),
        (Arg("b, 0, s"), Arg((3, 0, 2))),
    ),
    Harness(
        "empty_convolution_window",
        lambda x, w: lax.conv_general_dilated(x, w, (1,), ((1, 1),)),
        (Arg("b, 2, 0"), Arg((3, 2, 2))),
    ),
    Harness(
        "empty_convolution_kernels",
        lambda x, w: jax.vmap(lambda y, v: lax.conv_general_dilated(y, v, (1,), "VALID"))(x, w),
        (Arg("b, 2, 3, 4"), Arg("b, 3, 3, 5")),
    ),
    Harness(
        "empty_window",
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 1), "SAME"),
        (Arg("b, 0"),),
    ),
    Harness(
        "empty_random",
        lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
        (B04,),
    ),
    Harness(
        "empty_random_rbg",
        lambda x: jax.random.bits(jax.random.key(0, impl="unsafe_rbg"), x.shape),
        (B04,),
    ),
    Harness("empty_cholesky", lambda x: jnp.linalg.cholesky(x), (Arg("b, 0, 0"),)),
    Harness("empty_slice_past_end", lambda x: x[9:].reshape(-1), (Arg("s, b"),)),
]
