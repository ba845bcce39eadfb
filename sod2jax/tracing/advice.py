"""What to say of a function that has no symbolic trace, and what can help."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Sequence

import jax
import numpy as np

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.ir.region import Region
from sod2jax.tracing.bound import NumberWanted

# Whose lines are nobody's own; compiled code of NumPy has no directory.
_PACKAGES = (
    _compat.JAX_DIRECTORY,
    _compat.PACKAGE_DIRECTORY,
    os.path.dirname(np.__file__),
    "numpy/",
)
_TRACED = re.compile(r"^function \S+ at \S+ traced for jit returned")
# Errors of Python code that no other shape helps: they are the function's own.
_OWN = (AttributeError, NameError, ImportError, SyntaxError, AssertionError)
_BY_VALUE = (
    "sizes that depend on values come from sod2jax.numpy: boolean_index(x, mask) for x[mask], "
    "nonzero, unique, repeat, arange and others",
    "keep a mask in place of a shorter array",
)
_DECIDING = ("decide by jnp.where or jax.lax.cond in place of if and while",)
_VALUES = (
    "compute with arrays: the number that an array holds is not known under jax.jit, either",
    *_BY_VALUE,
)
_ROWS = ("go through the rows of an array by jax.vmap or jax.lax.scan in place of a Python loop",)
_KEYS = (
    "look values up in an array, by jnp.take(table, n), in place of a dictionary: a size has no "
    "text and no hash while tracing",
)
_FIXED = "give the axis a fixed size where the function needs a number"
_NUMBERS = (
    "compute with sizes as they are, or by jnp, as in n * 0.5 or jnp.sqrt(n), and write x.shape[0] "
    "for len(x)",
    _FIXED,
)
# What can help at a line of the function that wants a number, by what the line holds.
_AT_LINE = (
    (r"(?<!for )\b\w+ (not )?in range\(", "write 0 <= k < n in place of k in range(n)"),
    (
        r"\bi?sqrt\(|\*\* *0?\.5",
        "give an array of s * s elements the spec 's*s': its root is s",
    ),
    (r"\brange\(|\* *\[|\] *\*(?!\*)", "loop over a size by jax.lax.fori_loop or jax.lax.scan"),
    (r"\bfor .* in |\blist\(", _ROWS[0]),
    (
        r"\bint\(|\bround\(",
        "write a share of a size with integers, as n // 10 in place of int(0.1 * n)",
    ),
    (r"\bfloat\(", "leave out float(): n * 0.5 and n ** -0.5 are numbers as they are"),
    (r"\brng\b|\brandom\b", "draw by jax.random, with a key, in place of NumPy's generators"),
    (r"\bf['\"]|\bstr\(|\bbin\(|\.format\(", _KEYS[0]),
)
_FITTING = (
    "give axes that must be equal one symbol",
    "declare a divisibility in the spec, such as '4*k' for a size that is split by 4",
)


def explain(name: str, region: Region, leaves: Sequence[Leaf], error: Exception) -> str:
    """The message for a function that cannot be traced.

    Args:
      name: the function's.
      region: what its symbols may be.
      leaves: its arrays.
      error: what stopped the trace.
    """
    symbolic = [leaf for leaf in leaves if leaf.is_symbolic]
    shown = "; ".join(f"{leaf.name}: ({', '.join(map(str, leaf.shape))})" for leaf in symbolic)
    text = (worded(name, error) or type(error).__name__).splitlines()[0].rstrip(".")
    for private in ("'_DimExpr' object", "_DimExpr"):
        text = text.replace(private, "a symbolic size")
    advice = "; or ".join(_remedies(region, error, text))
    return (
        f"{name} cannot be traced with the symbolic shapes {shown} ({region}). "
        f"{_kind(error)} at {_source(error)}: {text}."
        + (f" What can help: {advice}." if advice else "")
    )


def for_jit(error: Exception) -> str:
    """What can help where ``jax.jit`` fails, too, for want of a size that depends on values."""
    kinds = (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError)
    is_decision = isinstance(error, jax.errors.TracerBoolConversionError)
    return "; or ".join(_BY_VALUE) if isinstance(error, kinds) and not is_decision else ""


def worded(name: str, error: Exception) -> str:
    """What an error says, with the user's function for the one of ours that JAX was given."""
    return _TRACED.sub(f"{name} returned", str(error).strip())


def _kind(error: Exception) -> str:
    return TypeError.__name__ if isinstance(error, NumberWanted) else type(error).__name__


def wants_constant(error: BaseException | None) -> bool:
    """Whether JAX asked for the number of a size."""
    kinds = (_compat.InconclusiveDimensionOperation, ValueError)
    return isinstance(error, kinds) and "constant" in str(error)


def _remedies(region: Region, error: Exception, text: str) -> tuple[str, ...]:
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return _DECIDING
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return _VALUES
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        return _BY_VALUE
    if isinstance(error, KeyError) and any(name in text for name in region.names):
        return _KEYS
    if isinstance(error, _OWN):
        return ()
    if isinstance(error, _compat.InconclusiveDimensionOperation) and not wants_constant(error):
        return (*_bounding(region), *_FITTING)
    if "incompatible" in text or "shape" in text:
        return (*_FITTING, *_bounding(region))
    frame = _frame(error)
    line = "" if frame is None else frame.line or ""
    fitting = [remedy for pattern, remedy in _AT_LINE if re.search(pattern, line)]
    if fitting:
        return fitting[0], _FIXED
    inconclusive = isinstance(error, _compat.InconclusiveDimensionOperation)
    return (*_ROWS, _FIXED) if inconclusive else _NUMBERS


def _bounding(region: Region) -> tuple[str, ...]:
    unbounded = [symbol for symbol, _, high in region.ranges if high is None]
    if not unbounded:
        return ()
    return (
        f"bound the size, by constraints=('{unbounded[0]} <= 512',) beside the specs in shapes",
    )


def _source(error: Exception) -> str:
    """The innermost line of the user's code that an error came through."""
    frame = _frame(error)
    return "its call" if frame is None else f"{frame.filename}:{frame.lineno} ({frame.name})"


def _frame(error: Exception) -> traceback.FrameSummary | None:
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if not f.filename.startswith(_PACKAGES)]
    return users[-1] if users else None
