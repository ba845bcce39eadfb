"""One call: pad on the host, run the bucket's executable, trim without compiling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.runtime.compile import Executable


@dataclasses.dataclass(frozen=True, eq=False)
class CallPlan:
    """Everything that depends on the shapes of a call but not on its values.

    Attributes:
      program: what runs.
      bucket: where it runs.
      sizes: int32[k], the true sizes in the order of ``program.symbols``.
      order: for each input of the program, the position of its array among the call's leaves.
      dynamic: inputs that have a symbolic dimension.
      constants: the inputs beyond the call's own, which depend on its sizes only.
      out_shapes: true shape of each output.
      waste: padded over true elements of the symbolic inputs, minus 1.
    """

    program: Program
    bucket: Bucket
    sizes: np.ndarray
    order: tuple[int, ...]
    dynamic: tuple[int, ...]
    constants: tuple[Any, ...]
    out_shapes: tuple[tuple[int, ...], ...]
    waste: float

    def __call__(self, leaves: Sequence[Any], executable: Executable, poison: bool) -> Any:
        """Runs a call whose leaves have the plan's shapes."""
        inputs = [*(leaves[k] for k in self.order), *self.constants]
        for k in self.dynamic:
            inputs[k] = pad(inputs[k], executable.in_shapes[k], poison)
        outputs = executable.call(self.sizes, list(self.program.constants), inputs)
        trimmed = [trim(y, shape) for y, shape in zip(outputs, self.out_shapes, strict=True)]
        return jax.tree.unflatten(self.program.out_tree, trimmed)

    def waste_in(self, executable: Executable) -> float:
        """The waste where the call runs, which may be a larger bucket than the planned one."""
        if executable.bucket == self.bucket:
            return self.waste
        sizes = dict(zip(self.program.symbols, map(int, self.sizes), strict=True))
        return waste(self.program, self.dynamic, sizes, executable.in_shapes)


def plan_call(
    program: Program,
    bucket: Bucket,
    sizes: dict[str, int],
    order: tuple[int, ...],
    shapes: Sequence[Any],
    constants: tuple[Any, ...] = (),
) -> CallPlan:
    """The plan of every call with these true sizes; ``shapes`` are the padded input shapes."""
    symbolic = tuple(k for k, s in enumerate(program.in_shapes) if any(map(dims.is_symbolic, s)))
    return CallPlan(
        program=program,
        bucket=bucket,
        sizes=np.array([sizes[name] for name in program.symbols], np.int32),
        order=order,
        dynamic=symbolic,
        constants=constants,
        out_shapes=tuple(
            tuple(int(dims.evaluate(d, sizes)) for d in shape) for shape in program.out_shapes
        ),
        waste=waste(program, symbolic, sizes, shapes),
    )


def waste(
    program: Program, symbolic: Sequence[int], sizes: dict[str, int], shapes: Sequence[Any]
) -> float:
    """Padded over true elements of the inputs ``symbolic``, minus 1."""
    true = sum(math.prod(dims.evaluate(d, sizes) for d in program.in_shapes[k]) for k in symbolic)
    padded = sum(math.prod(shapes[k]) for k in symbolic)
    return padded / true - 1 if true else 0.0


def pad(array: Any, shape: tuple[int, ...], poison: bool) -> Any:
    """``array`` in the corner of a larger one; pad lanes hold zeros, or poison on request."""
    if np.shape(array) == shape:
        return array
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        wide = pad(bits, (*shape, *bits.shape[array.ndim :]), poison)
        return _compat.key_array(_compat.host_to_device(np.asarray(wide), bits), array)
    host = np.asarray(array, dtype=jax.typeof(array).dtype)
    out = np.full(shape, poison_value(host.dtype)) if poison else np.zeros(shape, host.dtype)
    out[tuple(map(slice, host.shape))] = host
    return out


def poison_value(dtype: np.dtype) -> Any:
    """A value that shows if it reaches a result: NaN, or the largest integer."""
    if dtype == jax.dtypes.float0:
        return np.zeros((), dtype)
    if dtype.kind == "b":
        return np.True_
    if jnp.issubdtype(dtype, np.inexact):
        return np.array(np.nan, dtype)
    return np.array(jnp.iinfo(dtype).max, dtype)


def trim(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The leading corner of an output, as a ``jax.Array``; shares its buffer where it can."""
    if array.shape == shape:
        return array
    if array.dtype == jax.dtypes.float0:
        return array[tuple(map(slice, shape))]
    if _compat.is_key_array(array):
        bits = _compat.key_bits(array)
        return _compat.key_array(trim(bits, (*shape, *bits.shape[array.ndim :])), array)
    return _compat.host_to_device(np.asarray(array)[tuple(map(slice, shape))], array)
