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
    """

    name: str
    size: str
    fun: Callable[..., Any]
    params: Any
    shapes: tuple[Any, ...]
    constraints: tuple[str, ...]
    inputs: Callable[..., tuple[np.ndarray, ...]]


def random_params(shapes: Any, seed: int) -> Any:
    """Random float32 parameters for a tree of `jax.ShapeDtypeStruct`.

    BERT's initialisation: scales 1, biases 0, all else normal with standard deviation 0.02.
    NumPy draws them in threads, a generator for each leaf: nothing is compiled.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    seeds = np.random.SeedSequence(seed).spawn(len(leaves))
    kinds = [path[-1].key for path, _ in leaves]
    sizes = [leaf.shape for _, leaf in leaves]
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(_draw, seeds, kinds, sizes))
    return jax.tree_util.tree_unflatten(tree, arrays)


def _draw(seed: np.random.SeedSequence, kind: str, shape: tuple[int, ...]) -> jax.Array:
    if kind == "scale":
        return jnp.ones(shape, jnp.float32)
    if kind == "bias":
        return jnp.zeros(shape, jnp.float32)
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    values *= np.float32(_INIT_STD)
    return jnp.asarray(values)
