"""What `jax.jit`, `nnx.jit` and `equinox.filter_jit` have, and what `optimize` makes of it.

A row is a test: a function whose docstring says what holds, in the words of the page. Its checks
run beside the library's own jit, at sizes that are 1, a bucket, and neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax

SIZES = (5, 16, 9, 1, 8)
VERDICTS = ("same", "better", "refused")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
      of: whose: "jax.jit", "nnx.jit" or "filter_jit".
      name: of the keyword, the method or the behaviour.
      verdict: one of ``VERDICTS``.
      says: what holds, and why.
      check: raises where it does not.
    """

    of: str
    name: str
    verdict: str
    says: str
    check: Callable[[], None]


ROWS: list[Row] = []


def row(of: str, name: str, verdict: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Adds a row to the table: the test that is decorated."""
    assert verdict in VERDICTS, verdict

    def added(check: Callable[[], None]) -> Callable[[], None]:
        says = " ".join((check.__doc__ or "").split())
        assert says, f"{name} says nothing"
        ROWS.append(Row(of, name, verdict, says, check))
        return check

    return added


def normal(*shape: int) -> np.ndarray:
    """float32[shape], the same for one shape."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def optimized(fun: Callable[..., Any], **options: Any) -> Any:
    """Without specs, with poison in the padding, and no way out."""
    return sod2jax.optimize(fun, **{"poison": True, "on_unsupported": "error", **options})


def assert_same(seen: Any, want: Any) -> None:
    """Trees, types, dtypes, shapes and weak types are equal; floats nearly so."""
    assert jax.tree.structure(seen) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array) == isinstance(b, jax.Array), (a, b)
        if not isinstance(a, jax.Array):
            assert type(a) is type(b) and a == b, (a, b)
            continue
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert getattr(a, "weak_type", False) == getattr(b, "weak_type", False)
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
