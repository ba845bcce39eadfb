"""Convolutions that are trained as several branches and run as one (RepVGG, arXiv 2101.03697).

Every module has two forms. In the train form convolutions have no bias and a batch normalisation
follows; in the deploy form there is one convolution with a bias. `fused` turns the variables of the
first into those of the second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-3


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=EPSILON, name=name)


class ConvNorm(nn.Module):
    """Convolution of odd `size`, padded by half of it, normalisation, activation; [b, h, w, c]."""

    features: int
    size: int
    stride: int = 1
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu
    deploy: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        half = (self.size // 2, self.size // 2)
        x = nn.Conv(
            self.features,
            (self.size, self.size),
            strides=self.stride,
            padding=(half, half),
            use_bias=self.deploy,
            name="conv",
        )(x)
        x = x if self.deploy else _norm("norm")(x)
        return self.activation(x) if self.activation else x


class RepConv(nn.Module):
    """A 3x3 convolution and ReLU on [b, h, w, c].

    In training the sum of a 3x3 and a 1x1 convolution and, where the shape stays, of the input
    itself, each normalised on its own.
    """

    features: int
    stride: int = 1
    deploy: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        branch = partial(
            ConvNorm, self.features, stride=self.stride, activation=None, deploy=self.deploy
        )
        out = branch(size=3, name="dense")(x)
        if self.deploy:
            return nn.relu(out)
        out += branch(size=1, name="point")(x)
        if self.stride == 1 and x.shape[-1] == self.features:
            out += _norm("identity")(x)
        return nn.relu(out)


class RepBlock(nn.Module):
    """`repeats` of `RepConv`, one after the other."""

    features: int
    repeats: int
    deploy: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.repeats):
            x = RepConv(self.features, deploy=self.deploy, name=f"convs_{i}")(x)
        return x


# Re-parameterisation: in NumPy, where nothing compiles, and in double precision.


def fused(variables: Any) -> Any:
    """Variables of the deploy form that give what those of the train form give.

    Args:
      variables: parameters and running statistics, "params" and "batch_stats", of a network of
        the modules above and of others without statistics.

    Returns:
      "params" of the same network with `deploy=True`, float32.
    """
    return {"params": _fused(variables["params"], variables["batch_stats"])}


def _fused(params: Any, stats: Any) -> Any:
    if "dense" in params:
        return {"dense": {"conv": _as_leaves(_one_convolution(params, stats))}}
    if "norm" in params:
        return {"conv": _as_leaves(_fold_conv(params, stats))}
    return {
        name: _fused(part, stats[name]) if name in stats else part for name, part in params.items()
    }


Folded = tuple[np.ndarray, np.ndarray]


def _one_convolution(params: Any, stats: Any) -> Folded:
    """Kernel and bias of the sum of a `RepConv`'s branches."""
    kernel, bias = _fold_conv(params["dense"], stats["dense"])
    branches = [_fold_conv(params["point"], stats["point"])]
    if "identity" in params:
        same = np.eye(kernel.shape[-1])[None, None]
        branches.append(_fold(same, params["identity"], stats["identity"]))
    for point, shift in branches:
        # What sees one pixel is a 3x3 convolution that is zero around its centre.
        kernel[1, 1] += point[0, 0]
        bias += shift
    return kernel, bias


def _fold_conv(params: Any, stats: Any) -> Folded:
    return _fold(np.asarray(params["conv"]["kernel"], np.float64), params["norm"], stats["norm"])


def _fold(kernel: np.ndarray, norm: Any, stats: Any) -> Folded:
    """Kernel and bias of a convolution without bias and the normalisation after it."""
    factor = np.asarray(norm["scale"], np.float64) / np.sqrt(
        np.asarray(stats["var"], np.float64) + EPSILON
    )
    return kernel * factor, np.asarray(norm["bias"]) - np.asarray(stats["mean"]) * factor


def _as_leaves(folded: Folded) -> dict[str, jax.Array]:
    kernel, bias = folded
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
