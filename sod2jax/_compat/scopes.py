"""The names that ``jax.named_scope`` and transformations give to equations, outermost first.

Those of an equation count from the jaxpr that it stands in; profiles show them joined.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from jax._src import source_info_util
from jax._src.source_info_util import NameStack, Transform

from sod2jax._compat.jaxprs import JaxprEqn

Scope = NameStack


def below(eqn: JaxprEqn, call: JaxprEqn, name: str = "") -> JaxprEqn:
    """An equation of a call's body as it stands beside the call: with the call's names before its.

    Args:
      eqn: gets the call's line in the user's code where it knows none.
      call: the equation that the body belongs to.
      name: what JAX calls the body.
    """
    own, outer = eqn.source_info, call.source_info
    if source_info_util.user_frame(own.traceback) is None:
        own = own.replace(traceback=outer.traceback)
    names = outer.name_stack.extend(name) if name else outer.name_stack
    return eqn.replace(source_info=own.replace(name_stack=names + eqn.source_info.name_stack))


def common_scope(eqns: Iterable[JaxprEqn]) -> Scope:
    """The names that equations of one jaxpr share; none that would part "jvp" from its operand."""
    stacks = [eqn.source_info.name_stack.stack for eqn in eqns]
    alike = itertools.takewhile(_is_one, zip(*stacks, strict=False))
    shared = [names[0] for names in alike]
    while shared and isinstance(shared[-1], Transform):
        shared.pop()
    return NameStack(tuple(shared))


def _is_one(names: Sequence[Any]) -> bool:
    return all(name == names[0] for name in names)


def with_scope(eqn: JaxprEqn, scope: Scope) -> JaxprEqn:
    """The equation with other names."""
    return eqn.replace(source_info=eqn.source_info.replace(name_stack=scope))


def inside(eqn: JaxprEqn, scope: Scope) -> JaxprEqn:
    """An equation as it stands in the body of a call of these names, with which its own begin."""
    return with_scope(eqn, eqn.source_info.name_stack[len(scope) :]) if len(scope) else eqn
