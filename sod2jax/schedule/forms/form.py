"""What a form is: the same result of one equation, written as the compiler runs it faster."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.errors import InvariantError


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """Other operations for an equation.

    Attributes:
      what: what it is, for reports.
      run: takes the equation's operands; gives its results, in their shapes and dtypes.
      reason: why it is faster.
      is_sole_reader: whether it is for equations whose first operand nothing else reads.
    """

    what: str
    run: Callable[..., Any]
    reason: str
    is_sole_reader: bool = False


def is_accumulated(dtype: Any) -> bool:
    """Whether numbers of a dtype promote to those that forms add up in: real ones of 16 bits up."""
    return bool(jnp.issubdtype(dtype, np.floating)) and dtype.itemsize > 1


def strided(x: Any, starts: Sequence[int], sizes: Sequence[int], strides: Sequence[int]) -> Any:
    """So many lanes of each axis, from a start, and so far apart."""
    ends = [s + (n - 1) * t + 1 for s, n, t in zip(starts, sizes, strides, strict=True)]
    return lax.slice(x, starts, ends, strides)


def in_pairs(operator: Callable[[Any, Any], Any], terms: Iterable[Any]) -> Any:
    """Terms combined as a tree: in a chain, each operation would wait for the one before."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = (terms[k : k + 2] for k in range(0, len(terms), 2))
        terms = [functools.reduce(operator, pair) for pair in pairs]
    return terms[0]


# The form of an equation, or None where it is best as it is. It has no side effects and looks at
# shapes, dtypes and parameters only.
FormRule = Callable[[JaxprEqn], Form | None]

_RULES: dict[tuple[str, str], FormRule] = {}
_RULES_IN_BODIES: dict[tuple[str, str], FormRule] = {}


def register_form(
    platform: str, *primitives: str, in_bodies: bool = False
) -> Callable[[FormRule], FormRule]:
    """Decorator that registers the form of primitives, by name, on a platform.

    Args:
      platform: where the compiler runs them slowly.
      primitives: names.
      in_bodies: the form is for bodies of loops and branches, where there is no other one.

    Raises:
      InvariantError: a primitive has a form on that platform already.
    """
    rules = _RULES_IN_BODIES if in_bodies else _RULES

    def decorate(rule: FormRule) -> FormRule:
        for name in primitives:
            if (platform, name) in rules:
                raise InvariantError(f"primitive '{name}' has two forms on {platform}")
            rules[platform, name] = rule
        return rule

    return decorate


def form_of(platform: str, eqn: JaxprEqn, in_body: bool = False) -> Form | None:
    """The form of an equation on a platform, if there is one."""
    for rules in (_RULES, _RULES_IN_BODIES) if in_body else (_RULES,):
        rule = rules.get((platform, eqn.primitive.name))
        form = rule(eqn) if rule else None
        if form is not None:
            return form
    return None
