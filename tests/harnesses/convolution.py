"""Convolutions and their derivatives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from tests.harnesses.base import Arg, Harness
from tests.harnesses.window import IMAGE, ROW, SMALL, SPOTS, spots

KERNEL = Arg((3, 3, 4, 5))
VALID2 = ("h >= 3", "w >= 3")


def conv(
    x: jax.Array, k: jax.Array, strides: Any = (1, 1), padding: Any = "SAME", **kw: Any
) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, k, strides, padding, dimension_numbers=numbers, **kw)


def conv1(
    x: jax.Array, k: jax.Array, stride: int = 1, padding: Any = "SAME", **kw: Any
) -> jax.Array:
    return lax.conv_general_dilated(
        x, k, (stride,), padding, dimension_numbers=("NHC", "HIO", "NHC"), **kw
    )


def layer(module: nn.Module, spatial: int) -> Any:
    """A flax layer with fixed parameters, applied to its input."""
    example = jnp.ones((1, *(7,) * spatial, 4))
    params = jax.jit(module.init)(jax.random.key(0), example)
    return lambda x: module.apply(params, x)


def image(name: str, fun: Any, *args: Arg, **kw: Any) -> Harness:
    return Harness(f"conv_general_dilated_{name}", fun, (IMAGE, *args), SMALL, **kw)


def row(name: str, fun: Any, *args: Arg, **kw: Any) -> Harness:
    return Harness(f"conv_general_dilated_{name}", fun, (ROW, *args), **kw)


K1 = Arg((3, 4, 5))
HARNESSES = [
    image("valid", lambda x, k: conv(x, k, padding="VALID"), KERNEL, constraints=VALID2),
    image("same", conv, KERNEL),
    image("pointwise", lambda x, k: conv(x, k), Arg((1, 1, 4, 5))),
    image("pointwise_strided", lambda x, k: conv(x, k, (2, 2)), Arg((1, 1, 4, 5))),
    image("valid_strided", lambda x, k: conv(x, k, (2, 3), "VALID"), KERNEL, constraints=VALID2),
    image("same_strided", lambda x, k: conv(x, k, (2, 2)), KERNEL),
    image("same_strided_3", lambda x, k: conv(x, k, (3, 2)), Arg((5, 4, 4, 3))),
    image("explicit_padding", lambda x, k: conv(x, k, (2, 1), [(3, 0), (1, 2)]), KERNEL),
    image(
        "negative_padding",
        lambda x, k: conv(x, k, (1, 1), [(-1, 2), (2, -1)]),
        KERNEL,
        constraints=VALID2,
    ),
    image("dilated_kernel", lambda x, k: conv(x, k, rhs_dilation=(2, 1)), KERNEL),
    image(
        "dilated_input",
        lambda x, k: conv(x, k, (2, 1), [(2, 1), (3, 0)], lhs_dilation=(2, 3), rhs_dilation=(1, 2)),
        KERNEL,
    ),
    image("depthwise", lambda x, k: conv(x, k, feature_group_count=4), Arg((3, 3, 1, 8))),
    image(
        "patches",
        lambda x: lax.conv_general_dilated_patches(
            x, (2, 2), (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
    ),
    image("flax_conv", layer(nn.Conv(3, (3, 3), (2, 2)), 2)),
    image("flax_conv_transpose", layer(nn.ConvTranspose(3, (3, 3), (2, 2)), 2)),
    image("input_grad", jax.grad(lambda x, k: (conv(x, k) ** 2).sum()), KERNEL),
    image("kernel_grad", jax.grad(lambda x, k: (conv(x, k) ** 2).sum(), 1), KERNEL),
    image(
        "kernel_grad_valid",
        jax.grad(lambda x, k: (conv(x, k, padding="VALID") ** 2).sum(), 1),
        KERNEL,
        constraints=("h >= 4", "w >= 3"),
    ),
    image(
        "two_layers_grad",
        jax.grad(lambda x, k, m: (conv(jax.nn.relu(conv(x, k)), m) ** 2).mean(), (0, 1, 2)),
        KERNEL,
        Arg((3, 3, 5, 2)),
    ),
    row("row_same", conv1, K1),
    row("row_causal", lambda x, k: conv1(x, k, padding=[(2, 0)]), K1),
    row("row_infinite", conv1, K1),
    Harness("conv_general_dilated_nonfinite", conv1, (SPOTS, K1)),
    row("row_int", lambda x, k: conv1(x.astype(np.int32), k.astype(np.int32), 2), K1),
    row("row_complex", lambda x, k: conv1(lax.complex(x, x), lax.complex(k, 2 * k)), K1),
    row(
        "row_bfloat16",
        lambda x, k: conv1(x.astype(jnp.bfloat16), k.astype(jnp.bfloat16)),
        K1,
        rtol=2e-2,
    ),
    row("row_groups", lambda x, k: conv1(x, k, feature_group_count=2), Arg((3, 2, 6))),
    row(
        "row_depthwise_grad",
        jax.grad(lambda x, k: (conv1(x, k, feature_group_count=4) ** 2).sum(), (0, 1)),
        Arg((3, 1, 4)),
    ),
    row("row_vmap_kernels", jax.vmap(lambda x, k: conv1(x[None], k)[0]), Arg("b, 3, 4, 5")),
    row(
        "row_vmap_shared_input",
        lambda x, k: jax.vmap(conv1, (None, 0))(x, k),
        Arg("t, 3, 4, 5"),
        bucket={"t": 3},
    ),
    row(
        "row_grad_per_example",
        lambda x, k: jax.vmap(jax.grad(lambda k, r: (conv1(r[None], k) ** 2).sum()), (None, 0))(
            k, x
        ),
        K1,
    ),
    row("row_flax_causal", layer(nn.Conv(3, (3,), padding="CAUSAL"), 1)),
    row("row_flax_reflect", layer(nn.Conv(3, (3,), padding="REFLECT"), 1), constraints=("s >= 2",)),
    row("row_flax_transpose_valid", layer(nn.ConvTranspose(3, (3,), (2,), padding="VALID"), 1)),
    row("row_flax_transpose_same", layer(nn.ConvTranspose(3, (4,), (3,), padding="SAME"), 1)),
    Harness("conv_general_dilated_symbolic_channels", conv1, (Arg("b, s, t"), Arg("3, t, 5"))),
    Harness("conv_general_dilated_symbolic_features", conv1, (ROW, Arg("3, 4, t"))),
    Harness(
        "conv_general_dilated_symbolic_depthwise",
        lambda x, k: conv1(x, k, feature_group_count=x.shape[-1]),
        (Arg("b, s, t"), Arg("3, 1, t")),
    ),
    Harness(
        "conv_general_dilated_symbolic_depthwise_multiplier",
        lambda x, k: conv1(x, k, feature_group_count=x.shape[-1]),
        (Arg("b, s, t"), Arg("3, 1, 2*t")),
    ),
    Harness(
        "conv_general_dilated_two_groups_of_symbolic_channels",
        lambda x, k: conv1(x, k, feature_group_count=2),
        (Arg("b, s, 2*t"), Arg("3, t, 2*u")),
        bucket={"t": 3, "u": 3},
    ),
    Harness(
        "conv_general_dilated_batch_groups",
        lambda x, k: conv1(x, k, batch_group_count=2),
        (Arg("2*b, s, 4"), Arg((3, 4, 6))),
    ),
    Harness(
        "conv_general_dilated_symbolic_batch_groups",
        lambda x, k: conv1(x, k, batch_group_count=k.shape[2] // 2),
        (Arg("3*t, s, 4"), Arg("3, 4, 2*t")),
        bucket={"t": 3},
        exact=None,
    ),
    Harness(
        "conv_general_dilated_symbolic_kernel",
        lambda x, k: conv1(x, k, 1, "VALID"),
        (Arg("b, s + t, 4"), Arg("t, 4, 5")),
        bucket={"t": 4},
    ),
    Harness(
        "conv_general_dilated_symbolic_kernel_nonfinite",
        lambda x, k: conv1(x, k, 2, [(1, 2)]),
        (Arg("b, s + t, 4", make=spots), Arg("t, 4, 5")),
        bucket={"t": 4},
    ),
    Harness(
        "conv_general_dilated_symbolic_kernel_dilated",
        lambda x, k: conv1(x, k, 1, [(2, 1)], rhs_dilation=(2,)),
        (Arg("b, s + 2*t, 4"), Arg("t, 4, 5")),
        bucket={"t": 4},
    ),
    Harness(
        "conv_general_dilated_merged_batch",
        lambda x, k: conv1(x.reshape(-1, 5, 4), k),
        (Arg("b, s, 5, 4"), K1),
    ),
    Harness(
        "conv_general_dilated_merged_channels",
        lambda x, k: conv1(x.reshape(*x.shape[:2], -1), k.reshape(3, -1, 5)),
        (Arg("b, s, 4, t"), Arg("3, 4, t, 5")),
        bucket={"t": 3},
    ),
    Harness(
        "conv_general_dilated_merged_space", lambda x, k: conv1(x.reshape(1, -1, 4), k), (ROW, K1)
    ),
    Harness(
        "conv_general_dilated_nchw",
        lambda x, k: lax.conv(x, k, (2, 1), "SAME"),
        (Arg("b, 4, h, w"), Arg((5, 4, 3, 2))),
        SMALL,
    ),
    Harness(
        "conv_general_dilated_volume",
        lambda x, k: lax.conv_general_dilated(x, k, (1, 2, 1), "SAME"),
        (Arg("b, 2, s, h, 4"), Arg((3, 2, 3, 3, 2))),
        {"b": 2, "s": 5, "h": 4},
    ),
    Harness(
        "conv_general_dilated_transpose",
        lambda x, k: lax.conv_transpose(x, k, (2,), "SAME"),
        (ROW, K1),
    ),
    Harness(
        "conv_general_dilated_and_max_pool_grad",
        jax.value_and_grad(
            lambda k, x: (nn.max_pool(conv(x, k), (2, 2), (2, 2), "SAME") ** 2).mean()
        ),
        (KERNEL, IMAGE),
        SMALL,
    ),
]
