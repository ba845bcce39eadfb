"""Whether an executable gives what a concrete trace gives, on arrays drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.runtime.compile import Executable
from sod2jax.tracing.concrete import Concrete
from sod2jax.transfer import pad, trim

_TOLERANCE = 1e-3  # relative to the largest magnitude: another course differs by more
_INTEGERS = 4  # of integers drawn, the first that is too large


def same_results(
    program: Program,
    executable: Executable,
    constants: Sequence[Any],
    concrete: Concrete,
    sizes: Mapping[str, int],
) -> bool:
    """Whether a program, compiled, and a trace of its function have equal results.

    Args:
      program: that the executable was compiled from.
      executable: of a bucket that holds the sizes.
      constants: that the executable is called with.
      concrete: the trace. Neither may call Python: both are run on arrays that nobody gave.
      sizes: of the symbols.
    """
    called = any(eqn.primitive.name in CALLBACKS for eqn in equations(concrete.jaxpr))
    if called or concrete.jaxpr.effects:
        return False  # running it would do more than compute
    true = np.array([sizes[name] for name in program.symbols], np.int32)
    with jax.ensure_compile_time_eval():  # whatever transformation the call is inside of
        inputs = _drawn(concrete)
        wanted = jax.jit(_compat.function_of(concrete.jaxpr))(*inputs)
        shapes = zip(inputs, executable.in_shapes, strict=True)
        padded = [pad(x, shape, False) for x, shape in shapes]
        outputs = executable.call(true, list(constants), padded)
        pairs = zip(outputs, wanted, strict=True)
        return all(_alike(trim(y, want.shape), want) for y, want in pairs)


def _drawn(concrete: Concrete) -> list[Any]:
    rng = np.random.default_rng(0)
    return [_array(var.aval, rng) for var in concrete.jaxpr.invars]


def _array(aval: Any, rng: np.random.Generator) -> Any:
    if _compat.is_key_array(aval):
        return _compat.drawn_keys(aval, rng)
    if aval.dtype == jax.dtypes.float0:
        return np.zeros(aval.shape, aval.dtype)
    if jnp.issubdtype(aval.dtype, np.inexact):
        values = rng.normal(size=aval.shape)
    else:
        values = rng.integers(0, 2 if aval.dtype == np.bool_ else _INTEGERS, aval.shape)
        values.flat[:1] = 1  # what is divided by a count of trues is a number
    return jnp.asarray(values, aval.dtype)


def _alike(ours: Any, theirs: Any) -> bool:
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return False
    if jnp.issubdtype(ours.dtype, jax.dtypes.extended):
        ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
    x, y = np.asarray(ours), np.asarray(theirs)
    if not jnp.issubdtype(x.dtype, np.inexact):
        return bool((x == y).all())
    x, y = x.astype(np.complex128), y.astype(np.complex128)
    finite = np.abs(y[np.isfinite(y)])
    atol = _TOLERANCE * float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(x, y, rtol=_TOLERANCE, atol=atol, equal_nan=True))
