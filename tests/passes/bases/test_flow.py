"""Which programs are the same for every choice of vectors, and which are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

from sod2jax.ir.jaxprs import equations
from sod2jax.ir.primitives import ANY_BASIS
from sod2jax.passes import bases
from tests.harnesses import Arg
from tests.passes.programs import program


def _freed(fun: Callable[..., Any], spec: str = "n, n") -> list[bool]:
    """For each decomposition of the program, whether its vectors are free."""
    names = [eqn.primitive.name for eqn in equations(bases.freed(program(fun, Arg(spec))).jaxpr)]
    ours = {primitive.name for primitive in ANY_BASIS.values()}
    return [name in ours for name in names if name in ours | set(ANY_BASIS)]


def _eigh(fun: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fun(*jnp.linalg.eigh(x))


def _svd(fun: Callable[[Any, Any, Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fun(*jnp.linalg.svd(x, full_matrices=False))


FREE = {
    "function": _eigh(lambda w, v: (v * jnp.exp(w)[None]) @ v.T),
    "between": _eigh(lambda w, v: v @ (jnp.cos(w)[:, None] * (v.T @ v)) @ v.T),
    "diagonal": _eigh(lambda w, v: v @ jnp.diag(w**2) @ v.T),
    "sum": _eigh(lambda w, v: (2 * v * w[None] - v) @ v.T),
    "chosen": _eigh(lambda w, v: jnp.where(w[None] > 1, v, 0) @ v.T),
    "rebuilt": _svd(lambda u, s, v: (u * s[None]) @ v),
    "cut": _svd(lambda u, s, v: v.T @ (jnp.where(s > 1e-5 * s[0], 1 / s, 0)[:, None] * u.T)),
    "twice": _svd(lambda u, s, v: (u * s[None]) @ (v @ v.T) @ (s[:, None] * u.T)),
}
DEPENDENT = {
    "seen": _eigh(lambda w, v: v),
    "squares": _eigh(lambda w, v: (v * v).sum(0)),
    "absolute": _eigh(lambda w, v: jnp.abs(v) @ jnp.abs(v).T),
    "by_index": _eigh(lambda w, v: (v * jnp.arange(v.shape[0])[None]) @ v.T),
    "first": _eigh(lambda w, v: v[:, :1] @ v[:, :1].T),
    "reversed": _eigh(lambda w, v: (v * w[None, ::-1]) @ v.T),
    "summed": _eigh(lambda w, v: v.sum(1)),
    "by_row": _eigh(lambda w, v: (v * v[:1]) @ v.T),
    "polar": _svd(lambda u, s, v: u @ v),
    "inverse": _svd(lambda u, s, v: (u / s[None]) @ v),
    "undone": _svd(lambda u, s, v: (u * s[None] / s[None]) @ v),
    "undone_before": _svd(lambda u, s, v: (u / s[None] * s[None]) @ v),
    "undone_behind": _svd(lambda u, s, v: (u * s[None]) @ (v / s[:, None])),
    "undone_in_values": _svd(lambda u, s, v: (u * (s * s**-1)[None]) @ v),
    "not_cut": _svd(lambda u, s, v: (u * jnp.where(s > -1, 1.0, 0)[None]) @ v),
    "other_side": _svd(lambda u, s, v: (u * s[None]).T @ v.T),
}


@pytest.mark.parametrize("name", FREE)
def test_products_in_which_the_choice_cancels_are_free(name: str) -> None:
    assert _freed(FREE[name]) == [True]


@pytest.mark.parametrize("name", DEPENDENT)
def test_what_sees_vectors_is_not(name: str) -> None:
    assert _freed(DEPENDENT[name]) == [False]


def test_vectors_of_zero_are_free_where_they_span_all_of_its_space() -> None:
    projector = _svd(lambda u, s, v: u @ u.T)
    assert [_freed(projector, spec) for spec in ("n, n", "n, 2*n", "2*n, n")] == [
        [True],
        [True],
        [False],
    ]


def test_vectors_of_two_decompositions_do_not_cancel() -> None:
    def mixed(x: Any) -> Any:
        (w, v), (_, other) = jnp.linalg.eigh(x), jnp.linalg.eigh(x + 1)
        return (v * w[None]) @ other.T

    assert _freed(mixed) == [False, False]
