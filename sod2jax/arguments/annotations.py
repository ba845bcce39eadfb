"""Specs from annotations of jaxtyping, such as ``x: Float[Array, "b s 16"]``.

jaxtyping is not imported: its classes are known by what they say of themselves.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from sod2jax.arguments.calls import shortened
from sod2jax.errors import SpecError
from sod2jax.options import ANNOTATIONS, Options

_CONTAINERS = (dict, list, tuple)


def with_annotations(options: Options, fun: Callable[..., Any]) -> Options:
    """The options with the specs that a function's annotations give, if they ask for these.

    Raises:
      SpecError: no annotation gives a spec, or one cannot be read.
    """
    if options.shapes != ANNOTATIONS:
        return options
    return dataclasses.replace(options, shapes=specs_of(fun))


def specs_of(fun: Callable[..., Any]) -> dict[str, Any]:
    """The specs by parameter name; none for what no annotation speaks of, whose shape is fixed.

    Names are symbols, integers fixed sizes, and expressions stay; ``...``, ``*names`` and what else
    has no fixed size (``_``, ``#name``, ``?name``, ``{...}``) take the sizes of the call.

    Raises:
      SpecError: no annotation gives a spec, or one cannot be read.
    """
    plain = inspect.unwrap(fun)
    found = {}
    for name, parameter in inspect.signature(fun).parameters.items():
        hint = _evaluated(plain, name, parameter.annotation)
        spec = _spec(hint, name)
        if spec is not None:
            found[name] = spec
    if not found:
        raise SpecError(
            f"shapes={ANNOTATIONS!r}, but no parameter of {getattr(fun, '__name__', fun)} has an "
            "annotation of jaxtyping such as Float[Array, 'b s 16']: annotate the arrays, or write "
            "shapes=(...) with one spec per argument"
        )
    return found


def _evaluated(fun: Any, name: str, hint: Any) -> Any:
    """An annotation, which may be a text."""
    if not isinstance(hint, str):
        return hint
    scope = dict(getattr(fun, "__globals__", {}))
    cells = zip(
        getattr(getattr(fun, "__code__", None), "co_freevars", ()),
        getattr(fun, "__closure__", None) or (),
        strict=True,
    )
    try:
        scope |= {free: cell.cell_contents for free, cell in cells}
        return eval(hint, scope)
    except Exception as error:  # it may be anything
        raise SpecError(
            f"the annotation of '{name}', {shortened(hint)}, cannot be evaluated "
            f"({type(error).__name__}: {error}): shapes={ANNOTATIONS!r} must know what it names; "
            "import that outside of `if TYPE_CHECKING`, or write shapes=(...)"
        ) from error


def _spec(hint: Any, name: str) -> Any:
    """What an annotation says of a parameter; None if nothing."""
    if hasattr(hint, "leaftype"):  # a PyTree
        return _spec(hint.leaftype, name)
    if isinstance(text := getattr(hint, "dim_str", None), str):
        return ", ".join(map(_dimension, text.split()))
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _spec(arguments[0], name)
    if origin is tuple and Ellipsis not in arguments:
        parts = tuple(_spec(part, name) for part in arguments)
        return parts if any(part is not None for part in parts) else None
    if origin in _CONTAINERS or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _spec(arguments[-2 if origin is tuple else -1], name)
    if origin is None or origin is typing.Literal:
        return None
    read = [_spec(part, name) for part in arguments if part not in (NoneType, Ellipsis)]
    others = [spec for k, spec in enumerate(read) if spec not in read[:k]]  # of a union, or alike
    if len(others) > 1 and any(spec is not None for spec in others):
        raise SpecError(
            f"the annotation of '{name}' says {' and '.join(map(repr, others))}: which of them "
            "holds differs from call to call, so write its spec into shapes=(...)"
        )
    return others[0] if others else None


def _dimension(text: str) -> str:
    """A dimension as specs have it."""
    if text == "..." or text.startswith(("*", "#*", "?*")):
        return "..."
    if text[0] in "_#?" or "{" in text:
        return "_"
    return text.rpartition("=")[2]  # "rows=4" is a 4 with a name for readers
