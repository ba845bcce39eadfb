"""What callbacks close over, and parameters of others, count where there is a doubt."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive
from jax.interpreters import mlir

import sod2jax
from sod2jax.errors import ExactFallbackWarning

SIZES = (12, 7, 25, 1)
SCALAR = jax.ShapeDtypeStruct((), np.float32)
SCALES = {25: np.array([9.0], np.float32)}


def _named(how: str, a: Any) -> np.float32:
    return np.float32(getattr(np, how)(a))


def _how(x: jax.Array) -> str:
    return "prod" if str(x.shape[0]) == "25" else "sum"


def _cell(x: jax.Array) -> Any:
    how = _how(x)
    return jax.pure_callback(lambda a: _named(how, a), SCALAR, x)


def _default(x: jax.Array) -> Any:
    return jax.pure_callback(lambda a, how=_how(x): _named(how, a), SCALAR, x)  # noqa: B008, as people write it


def _keyword_only(x: jax.Array) -> Any:
    def call(a: Any, *, how: str = _how(x)) -> np.float32:
        return _named(how, a)

    return jax.pure_callback(call, SCALAR, x)


def _partial(x: jax.Array) -> Any:
    return jax.pure_callback(functools.partial(_named, _how(x)), SCALAR, x)


def _partial_of_keyword(x: jax.Array) -> Any:
    call = functools.partial(lambda a, how: _named(how, a), how=_how(x))
    return jax.pure_callback(call, SCALAR, x)


def _in_a_list(x: jax.Array) -> Any:
    how = [_how(x)]
    return jax.pure_callback(lambda a: _named(how[0], a), SCALAR, x)


def _array(x: jax.Array) -> Any:
    scale = SCALES.get(x.shape[0], np.array([1.0], np.float32))
    return jax.pure_callback(lambda a: np.float32(a.sum() * scale[0]), SCALAR, x)


def _array_of_jax(x: jax.Array) -> Any:
    with jax.ensure_compile_time_eval():
        scale = jnp.asarray(SCALES.get(x.shape[0], np.array([1.0], np.float32)))
    return jax.pure_callback(lambda a: np.float32(a.sum() * np.asarray(scale)[0]), SCALAR, x)


def _objects(x: jax.Array) -> Any:
    scale = SCALES.get(x.shape[0], np.array([1.0], np.float32)).astype(object)
    return jax.pure_callback(lambda a: np.float32(a.sum() * float(scale[0])), SCALAR, x)


RESULTS = (
    *(_cell, _default, _keyword_only, _partial, _partial_of_keyword),
    *(_in_a_list, _array, _array_of_jax, _objects),
)


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
@pytest.mark.parametrize("options", [{}, {"shapes": ("n",), "constraints": ("n <= 40",)}])
@pytest.mark.parametrize("fun", RESULTS, ids=lambda fun: fun.__name__)
def test_what_a_callback_closes_over_counts(fun: Callable[..., Any], options: dict[str, Any]):
    function = sod2jax.optimize(fun, **options)
    for size in SIZES:
        x = np.full(size, 0.75, np.float32)
        np.testing.assert_allclose(function(x), fun(jnp.asarray(x)), rtol=1e-5)


def test_what_is_the_same_at_each_size_runs_padded():
    def fun(x: jax.Array) -> Any:
        if hash(x.shape[0]) == hash("no size"):
            return x.sum()
        return _array_of_jax(x) + _objects(x)

    function = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error", buckets={"n": (40,)})
    for size in (12, 7, 3):
        assert function(np.ones(size, np.float32)) == 2 * size
    assert "trust: checked" in function.explain()


PRINTS: dict[str, Callable[[jax.Array], None]] = {
    "text": lambda x: jax.debug.print(f"{x.shape[0]} {{}}", x.sum()),
    "keyword": lambda x: jax.debug.print("{tag} {}", x.sum(), tag=f"{x.shape[0]}"),
    "callback": lambda x: jax.debug.callback(
        lambda total, tag: print(tag, total), x.sum(), tag=f"{x.shape[0]}"
    ),
}


@pytest.mark.parametrize("name", PRINTS)
def test_texts_made_of_sizes_are_printed_as_they_are(name: str, capsys: Any):
    def fun(x: jax.Array) -> jax.Array:
        PRINTS[name](x)
        return x

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 40",))
    with pytest.warns(ExactFallbackWarning, match="the text of the size 'n' at .*test_at_sizes"):
        for size in (12, 7):
            function(np.ones(size, np.float32))
            jax.effects_barrier()
    assert capsys.readouterr().out.splitlines() == ["12 12.0", "7 7.0"]


@pytest.fixture
def act() -> Iterator[Primitive]:
    """A primitive of another package, whose parameter is called as a hint of JAX's."""
    primitive = Primitive("act")
    primitive.def_abstract_eval(lambda x, *, name: x)
    lowered = mlir.lower_fun(lambda x, *, name: getattr(jnp, name)(x), multiple_results=False)
    mlir.register_lowering(primitive, lowered)
    sod2jax.register_rule(primitive, elementwise=True)
    yield primitive


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_parameters_of_others_count_whatever_they_are_called(act: Primitive):
    def fun(x: jax.Array) -> Any:
        return act.bind(x, name="sin" if str(x.shape[0]) == "25" else "cos")

    function = sod2jax.optimize(fun)
    for size in SIZES:
        x = np.ones(size, np.float32)
        np.testing.assert_allclose(function(x), np.sin(x) if size == 25 else np.cos(x), rtol=1e-6)
