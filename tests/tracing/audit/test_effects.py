"""What a program does besides its results is part of it, in its order."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import AuditWarning, ExactFallbackWarning
from sod2jax.tracing.audit.canonical import canonical
from sod2jax.tracing.audit.numbering import Numbering

X = jax.ShapeDtypeStruct((5,), np.float32)


def one(x: Any) -> None:
    """A callback."""


def two(x: Any) -> None:
    """Another one."""
    one(x)


def told(x: jax.Array, *calls: Callable[[Any], None], ordered: bool = False) -> jax.Array:
    for call in calls:
        jax.debug.callback(call, x, ordered=ordered)
    return x * 2


def looped(call: Callable[[Any], None]) -> Callable[[jax.Array], Any]:
    return lambda x: lax.scan(lambda c, v: (told(c, call), v), x, x)


def while_told(call: Callable[[Any], None]) -> Callable[[jax.Array], Any]:
    return lambda x: lax.while_loop(lambda c: told(c, call).sum() < 3, lambda c: c + 1, x)


def branched(call: Callable[[Any], None]) -> Callable[[jax.Array], Any]:
    return lambda x: lax.cond(x[0] > 0, lambda x: told(x, call), lambda x: x, x)


PAIRS: dict[str, Callable[[Callable[[Any], None]], Callable[[jax.Array], Any]]] = {
    "plain": lambda call: lambda x: told(x, call),
    "in a call": lambda call: lambda x: jax.jit(lambda y: told(y, call))(x),
    "of no elements": lambda call: lambda x: told(x[:0], call),
    "scan": looped,
    "while": while_told,
    "counting": lambda call: lambda x: lax.fori_loop(0, 3, lambda k, c: told(c, call), x),
    "cond": branched,
}


def forms(*functions: Callable[..., Any]) -> list[Any]:
    numbering = Numbering()
    return [canonical(numbering, jax.make_jaxpr(fun)(X), {}, True) for fun in functions]


@pytest.mark.parametrize("name", PAIRS)
def test_another_callback_is_another_program(name: str):
    make = PAIRS[name]
    first, second, same = forms(make(one), make(two), make(one))
    assert first == same
    assert first.kinds
    assert first.kinds != second.kinds


def test_number_order_and_operands_count():
    ways = (
        lambda x: told(x),
        lambda x: told(x, one),
        lambda x: told(x, one, one),
        lambda x: told(x, one, two),
        lambda x: told(x, two, one),
        lambda x: told(x, one, ordered=True),
        lambda x: told(x + 1, one) - 2,
        lambda x: told(x[:2], one),
    )
    found = forms(*ways)
    assert all(a != b for k, a in enumerate(found) for b in found[:k])


@pytest.mark.parametrize("options", [{}, {"shapes": ("n",), "constraints": ("n <= 40",)}])
def test_what_a_doubtful_function_does_at_one_size_is_done(options: dict[str, Any]):
    seen: list[tuple[int, ...]] = []

    def fun(x: jax.Array) -> jax.Array:
        if str(x.shape[0]) == "25":
            jax.debug.callback(lambda a: seen.append(a.shape), x)
        return x * 2

    function = sod2jax.optimize(fun, **options)
    with pytest.warns(ExactFallbackWarning, match="the text of the size"):
        for size in (12, 7, 25, 8):
            function(np.ones(size, np.float32))
            jax.effects_barrier()
    assert seen == [(25,)]


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_the_audit_notices_what_no_hook_sees():
    seen: list[tuple[int, ...]] = []

    def fun(x: jax.Array) -> jax.Array:
        kind = builtins.type(x.shape[0]).__name__  # which no hook sees
        if kind == "int":
            jax.debug.callback(lambda a: seen.append(a.shape), x)
        return jnp.sin(x)

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 40",))
    with pytest.warns(AuditWarning, match=r"'debug_callback' at .*test_effects"):
        function(np.ones(7, np.float32))
    for size in (12, 7):
        function(np.ones(size, np.float32))
    jax.effects_barrier()
    assert seen[-2:] == [(12,), (7,)]
