"""Annotations of jaxtyping as specs, evaluated or not (this file has them as texts)."""

from __future__ import annotations

import typing
from typing import Annotated, Any, Optional

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.arguments.annotations import specs_of
from sod2jax.errors import ShapeError, SpecError

jaxtyping = pytest.importorskip("jaxtyping")
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped, jaxtyped  # noqa: E402


def attention(
    w: Float[Array, "4 4"],
    x: Float[Array, "b s d=4"],
    lengths: Int[Array, " b"],
    scale: float = 1.0,
) -> Float[Array, "b d"]:
    kept = jnp.arange(x.shape[1])[None] < lengths[:, None]
    return jnp.where(kept[..., None], x @ w * scale, 0).sum(1)


def test_runs_from_buckets_as_jit_computes():
    function = sod2jax.optimize(
        attention,
        shapes="annotations",
        constraints=("b <= 4", "s <= 8"),
        on_unsupported="error",
        poison=True,
    )
    w = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
    for b, s in ((1, 1), (4, 8), (3, 5), (2, 7)):
        x = np.random.default_rng(s).normal(size=(b, s, 4)).astype(np.float32)
        args = (w, x, np.arange(b, dtype=np.int32) + 1)
        np.testing.assert_allclose(function(*args), jax.jit(attention)(*args), rtol=2e-5, atol=1e-6)
    assert {name for bucket in function.buckets for name in bucket} == {"b", "s"}
    with pytest.raises(ShapeError, match="'x' has size 5"):
        function(w, np.ones((2, 3, 5), np.float32), np.ones(2, np.int32))


def test_is_a_decorator_of_methods_and_of_one_example():
    class Model:
        @sod2jax.optimize(shapes="annotations", static_argnums=0)
        def total(self, x: Float[Array, "n 4"]) -> Float[Array, ""]:
            return jnp.sin(x).sum()

    model, x = Model(), np.ones((3, 4), np.float32)
    np.testing.assert_allclose(model.total(x), np.sin(x).sum(), rtol=1e-5)

    def mean(x: Float[Array, " n"]) -> Float[Array, ""]:
        return x.mean()

    rows = sod2jax.ragged_vmap(mean, shapes="annotations")([np.ones(3), np.arange(5.0)])
    np.testing.assert_allclose(rows, [1, 2], rtol=1e-6)
    report = sod2jax.check(mean, np.arange(5.0), shapes="annotations", samples=3)
    assert report, report


Features = Float[Array, "n 4"]


def kinds(
    several: Float[Array, "*batch n+1 2*m _ 3 rows=4"],
    loose: Shaped[Array, "... #n ?k {n}"],
    scalar: Float[Array, ""],
    maybe: Float[Array, "n"] | None,
    either: Float[Array, "n m"] | Int[np.ndarray, "n m"],
    old: Optional[Bool[Array, "n"]],  # noqa: UP045
    noted: Annotated[Float[Array, "n"], "for readers"],
    tree: PyTree[Float[Array, "n 4"]],
    table: dict[str, Float[Array, "n"]],
    pair: tuple[Float[Array, "n"], int, Float[Array, "m"]],
    many: list[Float[Array, "n"]],
    like: tuple[Float[Array, "n"], ...],
    alias: Features,
    plain: jax.Array,
    number: int,
    unsaid,
    *rest: Float[Array, "n"],
    **named: Float[Array, "m"],
) -> None: ...


@pytest.mark.parametrize("are_texts", [True, False])
def test_what_annotations_say(are_texts: bool, monkeypatch: pytest.MonkeyPatch):
    if not are_texts:
        hints = typing.get_type_hints(kinds, include_extras=True)
        monkeypatch.setattr(kinds, "__annotations__", hints)
    assert specs_of(kinds) == {
        "several": "..., n+1, 2*m, _, 3, 4",
        "loose": "..., _, _, _",
        "scalar": "",
        "maybe": "n",
        "either": "n, m",
        "old": "n",
        "noted": "n",
        "tree": "n, 4",
        "table": "n",
        "pair": ("n", None, "m"),
        "many": "n",
        "like": "n",
        "alias": "n, 4",
        "rest": "n",
        "named": "m",
    }


def test_behind_a_checker_of_types():
    @jaxtyped(typechecker=None)
    def checked(x: Features) -> Features:
        return x * 2

    function = sod2jax.optimize(checked, shapes="annotations")
    np.testing.assert_array_equal(function(np.ones((3, 4))), np.full((3, 4), 2))
    assert function.buckets[0].keys() == {"n"}


def test_a_spec_that_does_not_say_enough_is_refused():
    def without(x: jax.Array, n: int) -> jax.Array:
        return x

    with pytest.raises(SpecError, match="no parameter of without has an annotation of jaxtyping"):
        sod2jax.optimize(without, shapes="annotations")

    def differing(x: Float[Array, "n"] | Float[Array, "n m"]) -> Any:
        return x

    with pytest.raises(SpecError, match="'x' says 'n' and 'n, m': which of them"):
        sod2jax.optimize(differing, shapes="annotations")

    def unknown(x: NoSuchName[Array, "n"]) -> Any:  # type: ignore[name-defined]
        return x

    with pytest.raises(SpecError, match=r"annotation of 'x', .* cannot be evaluated .*NoSuchName"):
        sod2jax.optimize(unknown, shapes="annotations")
