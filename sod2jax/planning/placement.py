"""Arrays and programs that are elsewhere than on the one device that buckets are compiled for.

Elsewhere are references, too, values that are no arrays, and arrays that programs of the present
settings do not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from sod2jax import _compat
from sod2jax.arguments.calls import described
from sod2jax.errors import PlacementError, UnsupportedPrimitiveError
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.options import JitKeywords
from sod2jax.tracing.trace import HIGH, REFERENCE

_REMEDY = "such calls run where their arrays are, as under jax.jit"


def asked(name: str, keywords: JitKeywords) -> PlacementError | None:
    """Why no bucket serves any call: keywords of ``jit`` that place its arrays elsewhere."""
    for keyword in ("in_shardings", "out_shardings"):
        if getattr(keywords, keyword) is not None:
            return PlacementError(
                f"{name} has {keyword}, and buckets are for one device; {_REMEDY}. For buckets, "
                f"leave out {keyword}"
            )
    default = _compat.default_device()
    if keywords.device not in (None, default):
        return PlacementError(f"{name} is for {keywords.device}, not for {default}; {_REMEDY}")
    if keywords.backend not in (None, default.platform):
        return PlacementError(f"{name} is for {keywords.backend}, not for {default}; {_REMEDY}")
    return None


def of_call(name: str, arguments: Mapping[str, Any]) -> PlacementError | None:
    """Why no bucket serves a call; None if its arrays, by parameter, are where programs run."""
    if _compat.has_mesh():
        return PlacementError(
            f"{name} is called under a mesh of devices (jax.set_mesh), and buckets are for one "
            f"device; {_REMEDY}"
        )
    for path, leaf in jax.tree_util.tree_flatten_with_path(dict(arguments))[0]:
        place = _compat.committed_to(leaf)
        where = f"'{path[0].key}{jax.tree_util.keystr(path[1:])}' of {name}"
        if place is not None and _compat.is_elsewhere(place):
            return PlacementError(f"{where} lies {_said(place)}")
        if isinstance(leaf, jax.Ref):
            return PlacementError(f"{where} is {REFERENCE}")
        if _compat.is_of_high_type(leaf):
            return PlacementError(f"{where} is {HIGH}")
        if _compat.is_too_wide(leaf):
            return PlacementError(
                f"{where} is {described(leaf)}, and jax_enable_x64 is off; such calls run as under "
                "jax.jit. Set it for both, or neither"
            )
    return None


def check(program: Program) -> None:
    """Raises where a program closes over arrays that lie elsewhere, or places its own there.

    Raises:
      PlacementError: an array that it closes over does.
      UnsupportedPrimitiveError: an equation does.
    """
    for array in program.constants:
        place = _compat.committed_to(array)
        if place is not None and _compat.is_elsewhere(place):
            raise PlacementError(
                f"{program.name} closes over {described(array)}, which lies {_said(place)}"
            )
    for eqn in equations(program.jaxpr):
        if _compat.places_elsewhere(eqn):
            raise UnsupportedPrimitiveError(
                eqn.primitive.name,
                _compat.source_line(eqn),
                f"it places arrays elsewhere than on {_compat.default_device()}; {_REMEDY}",
            )


def _said(place: Any) -> str:
    return (
        f"{_compat.said_of_place(place)}, and buckets are for {_compat.default_device()}; "
        f"{_REMEDY}. For buckets, bring it there by jax.device_put"
    )
