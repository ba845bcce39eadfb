"""Callbacks: the host is given the true sizes, trims what Python sees and pads what it returns."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir import closures, dims
from sod2jax.ir.closures import HiddenSize
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of, mentions
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Padded
from sod2jax.transfer import enlarged, trim


@register_pad_rule(*CALLBACKS, always=True)
def _callback(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Calls with arrays of true shapes: the host is told the sizes, trims, and pads results."""
    names, call = tuple(sorted(mentions(eqn))), _compat.called(eqn)
    try:
        closures.at(call, dict.fromkeys(names, 1))
    except HiddenSize as error:
        raise ctx.refuse(f"what it calls depends on a size that cannot be told: {error}") from error
    if not names:
        of_rows = {"vmap_method": "sequential"} if "vmap_method" in eqn.params else {}
        return list(map(Padded.exact, ctx.bind(*(p.array for p in operands), **of_rows)))
    if any(p.padded_axes and _compat.is_key_array(p.array) for p in operands):
        raise ctx.refuse("typed keys are no arrays of the host; give it their key_data")
    results = [ctx.out_shape(k) for k in range(len(eqn.outvars))]
    padded = [ctx.sizes(shape) for shape in results]
    host = _Host(
        call,
        names,
        tuple(map(dims_of, eqn.invars)),
        tuple(zip(results, padded, strict=True)),
    )
    true = jnp.array([ctx.true(dims.symbol(name)) for name in names], np.int32)
    arrays = [true, *(ctx.compact(p).array for p in operands)]
    outputs = _compat.bind_callback(eqn, host, arrays, padded)
    return [Padded.prefix(y, shape) for y, shape in zip(outputs, results, strict=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Host:
    """What runs on the host in place of a callback.

    Attributes:
      call: the callback, on flat arrays.
      names: the symbols that it needs, in the order of the vector of true sizes.
      operands: the true shape of each array.
      results: the true and the padded shape of each result.
    """

    call: Callable[..., Any]
    names: tuple[str, ...]
    operands: tuple[tuple[Dim, ...], ...]
    results: tuple[tuple[tuple[Dim, ...], tuple[int, ...]], ...]

    def __call__(self, true: Any, *arrays: Any) -> list[np.ndarray]:
        """Calls with what a program of exact shapes would call with."""
        sizes = tuple(map(int, np.asarray(true)))
        at = dict(zip(self.names, sizes, strict=True))
        pairs = zip(arrays, self.operands, strict=True)
        results = self._at(sizes)(*(trim(array, _true(shape, at)) for array, shape in pairs))
        if len(results) != len(self.results):
            return results  # which JAX will say
        shapes = [(_true(shape, at), padded) for shape, padded in self.results]
        return [_padded(k, y, *shapes[k]) for k, y in enumerate(results)]

    @functools.cached_property
    def _at(self) -> Callable[[tuple[int, ...]], Callable[..., Any]]:
        """The callback with numbers for the sizes that it closes over."""

        def at(sizes: tuple[int, ...]) -> Callable[..., Any]:
            return closures.at(self.call, dict(zip(self.names, sizes, strict=True)))

        return functools.lru_cache(maxsize=64)(at)


def _true(shape: Sequence[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(dims.evaluate(d, sizes)) for d in shape)


def _padded(
    number: int, result: Any, shape: tuple[int, ...], padded: tuple[int, ...]
) -> np.ndarray:
    """A result with zeros in its pad lanes, if its shape is what JAX would ask for."""
    result = np.asarray(result)
    if result.shape != shape:
        raise RuntimeError(
            f"Incorrect output shape for return value #{number}: Expected: {shape}, Actual: "
            f"{result.shape}"
        )
    return result if shape == padded else enlarged(result, padded)
