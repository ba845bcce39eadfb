"""What every model gives: a function of exact shapes, its parameters and real inputs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_INIT_STD = 0.02

Scale = Callable[[tuple[str, ...], tuple[int, ...]], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Model:
    """A model at one size.

    Attributes:
      name: as given to `models.load`.
      size: the name of the configuration.
      fun: `fun(params, *inputs)`; trailing inputs may have defaults.
      params: tree of float32 arrays.
      shapes: one spec per argument of `fun`, `params` included, as the shapes of
        `jax.export.symbolic_args_specs`; None where the shape is fixed. A call that leaves out
        trailing inputs takes the specs before them.
      constraints: on the dimensions of `shapes`, such as "s <= 512".
      inputs: `inputs(rng, **dims)` gives a tuple of real inputs (every one of `shapes` but
        `params`) whose dimensions are exactly `dims`; `rng` is a `numpy.random.Generator`.
      gates: how many decisions a gated model takes for one example; 0 for a model without gates.
      gate_override: `gate_override(params, *inputs, gates)` is `fun` with its decisions forced;
        `gates` is bool [b, gates], True where the gated part runs, in the order of the network.
        A model whose examples leave early takes their exits, int32 [b] from 0 to `gates`; a model
        may take finer patterns too, which its `build` describes.
      gate_bias: `gate_bias(params, bias)` gives parameters whose gate logits are higher by
        `bias`, a float (float32 [gates] where each gate has a bias of its own): it sets the share
        of gates that are on, or how early examples leave. `fun` still computes the decisions.
      from_pattern: from bool [b, gates], the gates that are on, to what `gate_override` takes.
    """

    name: str
    size: str
    fun: Callable[..., Any]
    params: Any
    shapes: tuple[Any, ...]
    constraints: tuple[str, ...]
    inputs: Callable[..., tuple[np.ndarray, ...]]
    gates: int = 0
    gate_override: Callable[..., Any] | None = None
    gate_bias: Callable[[Any, Any], Any] | None = None
    from_pattern: Callable[[Any], Any] = lambda pattern: pattern


def bert_scale(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """BERT's initialisation: scales 1, biases 0, all else normal with standard deviation 0.02."""
    del shape
    if path[-1] == "scale":
        return 1.0, 0.0
    if path[-1] == "bias":
        return 0.0, 0.0
    return 0.0, _INIT_STD


def random_params(shapes: Any, seed: int, scale: Scale = bert_scale) -> Any:
    """Random float32 parameters for a tree of `jax.ShapeDtypeStruct`.

    NumPy draws them in threads, a generator for each leaf: nothing is compiled.

    Args:
      shapes: the tree; its keys are strings.
      seed: of all leaves.
      scale: from the keys above a leaf and its shape to its mean and standard deviation.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    seeds = np.random.SeedSequence(seed).spawn(len(leaves))
    sizes = [leaf.shape for _, leaf in leaves]
    scales = [
        scale(tuple(key.key for key in path), size)
        for (path, _), size in zip(leaves, sizes, strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(_draw, seeds, scales, sizes))
    return jax.tree_util.tree_unflatten(tree, arrays)


def _draw(
    seed: np.random.SeedSequence, scale: tuple[float, float], shape: tuple[int, ...]
) -> jax.Array:
    mean, std = scale
    if std == 0:
        return jnp.full(shape, mean, jnp.float32)
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    values *= np.float32(std)
    values += np.float32(mean)
    return jnp.asarray(values)
