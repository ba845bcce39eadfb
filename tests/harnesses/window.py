"""Pooling, its derivatives, and resizing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from tests.harnesses.base import Arg, Harness

min_pool = nn.pooling.min_pool
IMAGE = Arg("b, h, w, 4")
SMALL = {"b": 2, "h": 7, "w": 6}
ROW = Arg("b, s, 4")


def pool(kind: str, **kw: Any) -> Any:
    reducers = {"sum": (0.0, lax.add), "max": (-jnp.inf, lax.max), "min": (jnp.inf, lax.min)}
    initial, operator = reducers[kind]
    kw = {"window_strides": (1,) * len(kw["window_dimensions"]), "padding": "VALID"} | kw
    return lambda x: lax.reduce_window(x, np.asarray(initial, x.dtype), operator, **kw)


def spots(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers with infinities and NaN among them."""
    x = rng.normal(size=shape)
    x[rng.random(shape) < 0.08] = np.inf
    x[rng.random(shape) < 0.04] = np.nan
    return x


def ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 3, shape)


SPOTS = Arg("b, s, 4", make=spots)
VALID = ("s >= 3",)


INT = Arg("b, s", np.int32)
BS = Arg("b, s")
POOLS = [
    *(
        Harness(
            f"reduce_window_{kind}_{name}",
            pool(kind, window_dimensions=(1, 3), **kw),
            (BS,),
            constraints=VALID if kw.get("padding", "VALID") == "VALID" else (),
        )
        for kind in ("sum", "max", "min")
        for name, kw in (
            ("valid", {}),
            ("valid_strided", {"window_strides": (1, 2)}),
            ("same", {"padding": "SAME"}),
            ("same_strided", {"padding": "SAME", "window_strides": (1, 2)}),
            ("explicit", {"padding": ((0, 0), (2, 1)), "window_strides": (1, 2)}),
            (
                "dilated",
                {"padding": ((0, 0), (2, 3)), "base_dilation": (1, 2), "window_dilation": (1, 2)},
            ),
        )
    ),
    Harness("reduce_window_max_int", pool("max", window_dimensions=(2, 3), padding="SAME"), (BS,)),
    Harness(
        "reduce_window_sum_int32",
        lambda x: lax.reduce_window(x, np.int32(0), lax.add, (2, 2), (1, 2), "SAME"),
        (INT,),
    ),
    Harness(
        "reduce_window_max_int32",
        lambda x: lax.reduce_window(x, np.iinfo(np.int32).min, lax.max, (2, 2), (1, 2), "SAME"),
        (INT,),
    ),
    Harness(
        "reduce_window_prod",
        lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 3), (1, 1), "SAME"),
        (BS,),
    ),
    Harness(
        "reduce_window_or",
        lambda x: lax.reduce_window(x, False, lax.bitwise_or, (1, 3), (1, 2), "SAME"),
        (Arg("b, s", bool),),
    ),
    Harness(
        "reduce_window_sum_other_init",
        lambda x: lax.reduce_window(x, 2.0, lax.add, (1, 3), (1, 1), "VALID"),
        (BS,),
        constraints=VALID,
    ),
    Harness(
        "reduce_window_unknown_reducer",
        lambda x: lax.reduce_window(x, 0.0, lambda a, b: a + 2 * b, (1, 3), (1, 2), "VALID"),
        (BS,),
        constraints=VALID,
    ),
    Harness(
        "reduce_window_pairs",
        lambda x: lax.reduce_window(
            (x, -x), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] * b[0]), (1, 3), (1, 2), "VALID"
        ),
        (BS,),
        constraints=VALID,
    ),
    Harness(
        "reduce_window_sum_of_merged",
        lambda x: pool("sum", window_dimensions=(3,), padding="SAME")(x.reshape(-1)),
        (BS,),
    ),
    Harness(
        "reduce_window_sum_beside_merged",
        lambda x: pool("sum", window_dimensions=(1, 3))(x.reshape(-1, 4)),
        (ROW,),
    ),
    Harness(
        "reduce_window_sum_nonfinite",
        pool("sum", window_dimensions=(1, 3, 1), padding="SAME"),
        (SPOTS,),
    ),
    Harness("reduce_window_sum_whole", lambda x: nn.avg_pool(x, x.shape[1:3]), (IMAGE,), SMALL),
    Harness("reduce_window_max_whole", lambda x: nn.max_pool(x, x.shape[1:3]), (IMAGE,), SMALL),
    Harness(
        "reduce_window_symbolic_size",
        lambda x, y: [
            pool(kind, window_dimensions=(1, y.shape[0]), padding="SAME")(x)
            for kind in ("sum", "max", "min")
        ],
        (BS, Arg("t")),
    ),
    Harness(
        "reduce_window_symbolic_size_nonfinite",
        lambda x, y: pool(
            "sum", window_dimensions=(1, y.shape[0], 1), padding="SAME", window_dilation=(1, 2, 1)
        )(x),
        (SPOTS, Arg("t")),
    ),
    Harness(
        "reduce_window_symbolic_stride",
        lambda x, y: pool(
            "max", window_dimensions=(1, 2), window_strides=(1, y.shape[0]), padding="SAME"
        )(x),
        (BS, Arg("t")),
    ),
    Harness(
        "reduce_window_symbolic_blocks",
        lambda x, y: pool("sum", window_dimensions=(1, y.shape[0]), window_strides=(1, y.shape[0]))(
            x
        ),
        (Arg("b, s*t"), Arg("t")),
    ),
    Harness(
        "reduce_window_symbolic_dilation",
        lambda x, y: pool(
            "sum",
            window_dimensions=(1, 3),
            padding=((0, 0), (12, 12)),
            window_dilation=(1, y.shape[0]),
        )(x),
        (BS, Arg("t")),
    ),
    Harness(
        "reduce_window_symbolic_base_dilation",
        lambda x, y: pool(
            "sum", window_dimensions=(1, 3), padding=((0, 0), (3, 3)), base_dilation=(1, y.shape[0])
        )(x),
        (BS, Arg("t")),
    ),
    *(
        Harness(
            f"reduce_window_flax_{kind}_{padding}".lower(),
            lambda x, fun=fun, padding=padding: fun(x, (2, 3), (2, 2), padding),
            (IMAGE,),
            SMALL,
            constraints=("h >= 2", "w >= 3") if padding == "VALID" else (),
        )
        for kind, fun in (("avg", nn.avg_pool), ("max", nn.max_pool), ("min", min_pool))
        for padding in ("VALID", "SAME")
    ),
    Harness(
        "reduce_window_flax_avg_uncounted",
        lambda x: nn.avg_pool(x, (2, 3), (1, 2), "SAME", count_include_pad=False),
        (IMAGE,),
        SMALL,
    ),
    Harness(
        "reduce_window_sum_grad",
        jax.grad(lambda x: (nn.avg_pool(x, (3, 2), (2, 2), "SAME") ** 2).sum()),
        (IMAGE,),
        SMALL,
    ),
    Harness(
        "reduce_window_sum_whole_grad",
        jax.grad(lambda x: (nn.avg_pool(x, x.shape[1:3]) ** 2).sum()),
        (IMAGE,),
        SMALL,
    ),
    Harness(
        "reduce_window_vmap",
        lambda x: jax.vmap(pool("max", window_dimensions=(3,), padding="SAME"))(x),
        (BS,),
    ),
]

TIES = Arg("b, h, w, 4", make=ties)
SELECTIONS = [
    *(
        Harness(
            f"select_and_scatter_add_{name}",
            jax.grad(lambda x, fun=fun: (fun(x) * jnp.arange(1.0, 5.0)[None, None, None]).sum()),
            (TIES,),
            SMALL,
            constraints=constraints,
        )
        for name, fun, constraints in (
            ("valid", lambda x: nn.max_pool(x, (2, 2), (2, 2)), ("h >= 2", "w >= 2")),
            ("valid_overlap", lambda x: nn.max_pool(x, (3, 2), (1, 1)), ("h >= 3", "w >= 2")),
            ("same", lambda x: nn.max_pool(x, (3, 3), (1, 1), "SAME"), ()),
            ("same_strided", lambda x: nn.max_pool(x, (3, 2), (2, 3), "SAME"), ()),
            ("min", lambda x: min_pool(x, (3, 3), (2, 2), "SAME"), ()),
            ("whole", lambda x: nn.max_pool(x, x.shape[1:3]), ()),
            ("wide", lambda x: nn.max_pool(x, (1, x.shape[2]), (1, 2), "SAME"), ()),
        )
    ),
    Harness(
        "select_and_scatter_add_nonfinite",
        jax.grad(lambda x: pool("max", window_dimensions=(1, 3, 1), padding="SAME")(x).sum()),
        (SPOTS,),
    ),
    Harness(
        "select_and_scatter_add_all_low",
        jax.grad(
            lambda x: pool("max", window_dimensions=(1, 3, 1), padding="SAME")(
                jnp.where(x < 9, -jnp.inf, x)
            ).sum()
        ),
        (ROW,),
    ),
    *(
        Harness(
            f"select_and_gather_add_{name}",
            lambda x, t, fun=fun: jax.jvp(fun, (x,), (t,)),
            (Arg("b, s, 4", make=make), ROW),
            constraints=constraints,
        )
        for name, fun, make, constraints in (
            ("valid", pool("max", window_dimensions=(1, 3, 1)), ties, VALID),
            ("same", pool("max", window_dimensions=(1, 3, 1), padding="SAME"), ties, ()),
            (
                "same_strided",
                pool("min", window_dimensions=(1, 3, 1), window_strides=(1, 2, 1), padding="SAME"),
                ties,
                (),
            ),
            ("nonfinite", pool("max", window_dimensions=(1, 3, 1), padding="SAME"), spots, ()),
            ("whole", lambda x: pool("max", window_dimensions=(1, x.shape[1], 1))(x), spots, ()),
            ("batch", pool("max", window_dimensions=(1, 1, 2), padding="SAME"), ties, ()),
        )
    ),
]

RESIZES = [
    *(
        Harness(
            f"resize_{name}_{method}",
            lambda x, shape=shape, method=method: jax.image.resize(
                x, (x.shape[0], *shape(x), 4), method, antialias=False
            ),
            (IMAGE,),
            SMALL,
        )
        for method in ("nearest", "bilinear", "cubic")
        for name, shape in (
            ("twice", lambda x: (2 * x.shape[1], 2 * x.shape[2])),
            ("fixed", lambda x: (8, 8)),
        )
    ),
]

HARNESSES = [*POOLS, *SELECTIONS, *RESIZES]
