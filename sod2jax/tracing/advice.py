"""What to say of a function that has no symbolic trace, and what can help."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import jax

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.ir.region import Region
from sod2jax.tracing.bound import NumberWanted

# Errors of Python code that no other shape helps: they are the function's own.
_OWN = (AttributeError, NameError, ImportError, SyntaxError, AssertionError)
_BY_VALUE = (
    "sizes that depend on values come from sod2jax.numpy: nonzero, unique, compress, repeat",
    "keep a mask in place of a shorter array",
)
_DECIDING = ("decide by jnp.where or jax.lax.cond in place of if and while",)
_NUMBERS = (
    "loop over a size by jax.lax.fori_loop or jax.lax.scan in place of range",
    "compute with sizes by jnp, as in jnp.sqrt(x.shape[0]), and write x.shape[0] for len(x)",
    "give the axis a fixed size where the function needs a number",
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
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    for private in ("'_DimExpr' object", "_DimExpr"):
        text = text.replace(private, "a symbolic size")
    advice = "; or ".join(_remedies(region, error, text))
    return (
        f"{name} cannot be traced with the symbolic shapes {shown} ({region}). "
        f"{_kind(error)} at {_source(error)}: {text}."
        + (f" What can help: {advice}." if advice else "")
    )


def _kind(error: Exception) -> str:
    return TypeError.__name__ if isinstance(error, NumberWanted) else type(error).__name__


def wants_constant(error: BaseException | None) -> bool:
    """Whether JAX asked for the number of a size."""
    inconclusive = isinstance(error, _compat.InconclusiveDimensionOperation)
    return inconclusive and "constant" in str(error)


def _remedies(region: Region, error: Exception, text: str) -> tuple[str, ...]:
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return _DECIDING
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        return _BY_VALUE
    if isinstance(error, _OWN):
        return ()
    if isinstance(error, _compat.InconclusiveDimensionOperation) and not wants_constant(error):
        return (*_bounding(region), *_FITTING)
    if "incompatible" in text or "shape" in text:
        return (*_FITTING, *_bounding(region))
    return _NUMBERS


def _bounding(region: Region) -> tuple[str, ...]:
    unbounded = [symbol for symbol, _, high in region.ranges if high is None]
    if not unbounded:
        return ()
    return (
        f"bound the size, by constraints=('{unbounded[0]} <= 512',) beside the specs in shapes",
    )


def _source(error: Exception) -> str:
    """The innermost line of the user's code that an error came through."""
    packages = (_compat.JAX_DIRECTORY, _compat.PACKAGE_DIRECTORY)
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(packages)]
    return f"{users[-1].filename}:{users[-1].lineno} ({users[-1].name})" if users else "its call"
