"""Whether an executable gives what a concrete trace gives, on arrays drawn at random.

Arrays are drawn three times: standard normal, as most data are; of magnitudes from 1e-3 to 1e4,
with both signs and zeros, to reach branches that no usual number does; and these with some NaNs
and infinities; the latter two not where a size is 1, or in loops. Results that rounding alone
changes, as a sine of a large sum, tell nothing; nor do those of loops that do not end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.planning.rounds import limited
from sod2jax.runtime.compile import Executable
from sod2jax.tracing.concrete import Concrete
from sod2jax.transfer import pad, trim

_TOLERANCE = 1e-3  # relative: another course differs by more
_INTEGERS = 4  # of integers drawn, the first that is too large
_SPECIAL = 0.05  # of the elements drawn, those that are no finite numbers
_NUDGE = 1e-5  # relative: what this much of the inputs changes may be rounding
_ROUNDS = 10_000  # of all ``while`` loops, which random arrays may keep from ending
_NOTICED = 10  # changes of that kind that results may differ by


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
    # Whatever transformation the call is inside of, and whatever mesh it is under.
    with jax.ensure_compile_time_eval(), _compat.untyped_context():
        function = jax.jit(limited(concrete.jaxpr, _ROUNDS))
        # Of one element, what should cancel does so only where XLA sees that there is but one.
        # And a loop that ends on usual data need not end on infinities.
        loops = any(eqn.primitive.name == "while" for eqn in equations(concrete.jaxpr))
        draws = (_usual,) if loops or 1 in sizes.values() else (_usual, _mixed, _special)
        for draw in draws:
            inputs = _drawn(concrete, draw)
            wanted, has_ended = function(*inputs)
            if not has_ended:
                return False
            nudged = wanted if draw is _usual else function(*map(_nudged, inputs))[0]
            given = [*inputs, *program.numbers_at(sizes)]
            shapes = zip(given, executable.in_shapes, strict=True)
            padded = [pad(x, shape, False) for x, shape in shapes]
            outputs = executable.run(true, constants, padded)
            triples = zip(outputs, wanted, nudged, strict=True)
            if not all(_alike(trim(y, want.shape), want, near) for y, want, near in triples):
                return False
    return True


Draw = Callable[[Any, np.random.Generator], np.ndarray]


def _drawn(concrete: Concrete, draw: Draw) -> list[Any]:
    rng = np.random.default_rng(0)
    return [_array(var.aval, rng, draw) for var in concrete.jaxpr.invars]


def _array(aval: Any, rng: np.random.Generator, draw: Draw) -> Any:
    if _compat.is_key_array(aval):
        return _compat.drawn_keys(aval, rng)
    if aval.dtype == jax.dtypes.float0:
        return np.zeros(aval.shape, aval.dtype)
    return jnp.asarray(draw(aval, rng), aval.dtype)


def _usual(aval: Any, rng: np.random.Generator) -> np.ndarray:
    if jnp.issubdtype(aval.dtype, np.inexact):
        return rng.normal(size=aval.shape)
    values = rng.integers(0, 2 if aval.dtype == np.bool_ else _INTEGERS, aval.shape)
    values.flat[:1] = 1  # what is divided by a count of trues is a number
    return values


def _mixed(aval: Any, rng: np.random.Generator) -> np.ndarray:
    if aval.dtype == np.bool_:
        return rng.integers(0, 2, aval.shape)
    signs = rng.choice([-1, 1, 1, 0], aval.shape, p=[0.4, 0.25, 0.25, 0.1])
    values = signs * 10 ** rng.uniform(-3, 4, aval.shape)
    if jnp.issubdtype(aval.dtype, np.inexact):
        return values
    info = jnp.iinfo(aval.dtype)
    return np.clip(values, info.min, info.max).astype(np.int64)


def _special(aval: Any, rng: np.random.Generator) -> np.ndarray:
    values = _mixed(aval, rng)
    if not jnp.issubdtype(aval.dtype, np.inexact):
        return values
    others = rng.choice([np.nan, np.inf, -np.inf], aval.shape)
    return np.where(rng.random(aval.shape) < _SPECIAL, others, values)


def _nudged(x: Any) -> Any:
    """An array whose elements are others, by little more than rounding."""
    if not jnp.issubdtype(x.dtype, np.inexact):
        return x
    eps = max(_NUDGE, 2 * float(jnp.finfo(x.dtype).eps))
    return (x * (1 + eps * (-1.0) ** np.arange(x.size).reshape(x.shape))).astype(x.dtype)


def _alike(ours: Any, theirs: Any, near: Any) -> bool:
    """Whether results are equal, where another is equal that only rounding sets apart."""
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return False
    if jnp.issubdtype(ours.dtype, jax.dtypes.extended):
        ours, theirs, near = map(jax.random.key_data, (ours, theirs, near))
    x, y, z = map(np.asarray, (ours, theirs, near))
    if not jnp.issubdtype(x.dtype, np.inexact):
        return bool(((x == y) | (y != z)).all())
    x, y, z = (each.astype(np.complex128) for each in (x, y, z))
    with np.errstate(invalid="ignore", over="ignore"):
        unsure = np.abs(y - z)
        finite = np.abs(y[np.isfinite(y)])
        largest = float(finite.max()) if finite.size else 0.0
        atol = largest * (_TOLERANCE if near is theirs else _NUDGE / _NOTICED)
        close = np.abs(x - y) <= atol + _TOLERANCE * np.abs(y) + _NOTICED * unsure
    overflows = np.isfinite(y) != np.isfinite(z)
    # An infinity of what overflowed, times a zero of padding, is NaN.
    neither = ~np.isfinite(x) & ~np.isfinite(y)
    return bool((close & np.isfinite(y) | overflows | (x == y) | neither).all())
