"""What code sees of a size without comparing it, and the errors that it catches, are noticed."""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import functools
import io
import json
import numbers
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from tests.tracing.test_guards import record

TABLE = {1: 2.0, 3: 5.0}


@dataclasses.dataclass(frozen=True)
class Key:
    size: int


@functools.singledispatch
def kind(_: Any) -> float:
    return 5.0


@kind.register
def _(_: int) -> float:
    return 6.0


@functools.lru_cache
def remembered(n: int) -> int:
    return n


def written(source: str) -> Callable[[jax.Array], jax.Array]:
    """A function whose lines cannot be read."""
    names: dict[str, Any] = {}
    exec(f"def fun(x):\n    return {source}", names)
    return names["fun"]


def caught(fun: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """Another result where the function raises."""

    def call(x: jax.Array) -> Any:
        try:
            return fun(x)
        except Exception:
            return x * 7

    return call


def told(fun: Callable[[jax.Array], Any], text: Callable[[Any], str]) -> Callable[..., Any]:
    """What the error says that the function raises."""

    def call(x: jax.Array) -> Any:
        try:
            return fun(x)
        except Exception as error:
            return x * len(text(error))

    return call


class Encoder(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        return "?"


def returned_in_finally(x: jax.Array) -> jax.Array:
    y = x
    try:
        y = x * int(x.shape[0])
    finally:
        return y  # noqa: B012


def suppressed(x: jax.Array) -> jax.Array:
    y = x
    with contextlib.suppress(Exception):
        y = x * float(x.shape[0])
    return y


def logged(x: jax.Array) -> jax.Array:
    print(x.shape, f"{x.shape[0]:>4}")
    print(x.shape, file=sys.stderr)
    return x


def told_of_its_own(x: jax.Array) -> jax.Array:
    try:
        raise ValueError(f"{x.shape[0]} is too long")
    except ValueError as error:
        return x * len(str(error))


def printed(x: jax.Array) -> jax.Array:
    file = io.StringIO()
    print(x.shape, file=file)
    return x * len(file.getvalue())


def redirected(x: jax.Array) -> jax.Array:
    with contextlib.redirect_stdout(io.StringIO()) as file:
        print(x.shape[0])
    return x * len(file.getvalue())


def warned(x: jax.Array) -> jax.Array:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.warn(f"{x.shape} is long", stacklevel=1)
    return x * len(str(found[0].message))


def worded(x: jax.Array) -> jax.Array:
    if x.shape[0] > 100:
        raise ValueError(f"{x.shape} is too long")
    assert x.shape[0] < 100, f"{x.shape} is too long"
    return x


HASHES: dict[str, Callable[[jax.Array], Any]] = {
    "dataclass": lambda x: x * {Key(3): 5.0}.get(Key(x.shape[0]), 7.0),
    "is_disjoint": lambda x: x * 2 if {1, 3}.isdisjoint((x.shape[0],)) else x,
    "mapped": lambda x: x * (next(map(TABLE.get, x.shape)) or 1),
    "seed": lambda x: x * (hash(x.shape) % 7),
    "counted": lambda x: x * len(collections.Counter([x.shape[0], 3])),
    "no_source": written("x * {1: 2.0, 3: 5.0}.get(x.shape[0], 7.0)"),
    "aval": lambda x: x * {jax.typeof(x): 3.0}.get(jax.typeof(jnp.zeros(3)), 4.0),
    "struct": lambda x: x * len({jax.eval_shape(jnp.sin, x), jax.ShapeDtypeStruct((3,), x.dtype)}),
}
TEXTS: dict[str, Callable[[jax.Array], Any]] = {
    "str": lambda x: x * len(str(x.shape[0])),
    "f_string": lambda x: x * len(f"layer_{x.shape[0]}"),
    "repr": lambda x: x * len(repr(x.shape)),
    "format": lambda x: x * len("{:04d}".format(x.shape[0])),  # noqa: UP032
    "percent": lambda x: x * len("%s" % (x.shape[0],)),  # noqa: UP031
    "table": lambda x: x * {"layer_3": 4.0}.get(f"layer_{x.shape[0]}", 1.0),
    "aval": lambda x: x * len(str(jax.typeof(x))),
    "tracer": lambda x: x * len(repr(x)),
    "no_source": written("x * len(f'{x.shape[0]}')"),
    "json": lambda x: x * len(json.dumps(x.shape[0], default=lambda value: "?")),
    "json_in_a_table": lambda x: x * len(json.dumps({"n": [x.shape[0]]}, default=str)),
    "json_by_class": lambda x: x * len(Encoder().encode(x.shape[0])),
    "error_of_add": told(lambda x: x + jnp.ones(x.shape[0] + 2), str),
    "error_of_reshape": told(lambda x: x.reshape(x.shape[0] + 1), repr),
    "error_of_stack": told(lambda x: jnp.stack([x, x[None]]), str),
    "error_of_its_own": told_of_its_own,
    "printed": printed,
    "redirected": redirected,
    "warned": warned,
}
REFUSALS: dict[str, Callable[[jax.Array], Any]] = {
    "int": caught(lambda x: x * int(x.shape[0])),
    "float": caught(lambda x: x * float(x.shape[0])),
    "range": caught(lambda x: x * len(list(range(x.shape[0])))),
    "list_item": caught(lambda x: x * [1, 2, 3][x.shape[0]]),
    "list_slice": caught(lambda x: x * len([1, 2, 3][: x.shape[0]])),
    "percent": caught(lambda x: x * len("%d" % x.shape[0])),  # noqa: UP031
    "lookup": caught(lambda x: x * TABLE[x.shape[0]]),
    "attribute": caught(lambda x: x * x.shape[0].to_bytes(2, "big")[1]),
    "number": caught(lambda x: x * 2 if np.sqrt(x.shape[0]) > 2 else x),
    "rows": caught(lambda x: sum(x)),
    "array": caught(lambda x: x * np.sum(np.array(x.shape, int))),
    "finally": returned_in_finally,
    "suppressed": suppressed,
}
ERRORS: dict[str, Callable[[jax.Array], Any]] = {
    "reshape": caught(lambda x: x.reshape(3, -1).sum(0)),
    "reshape_to_numbers": caught(lambda x: jnp.tile(x, 3).reshape(3, 3)),
    "add": caught(lambda x: x + jnp.ones(3)),
    "stack": caught(lambda x: jnp.stack([x, jnp.ones(3)]).sum(0)),
    "concatenate": caught(lambda x: jnp.concatenate([x[None], jnp.ones((1, 3))]).sum(0)),
    "dot": caught(lambda x: x @ jnp.ones(3)),
    "einsum": caught(lambda x: jnp.einsum("i,i->", x, jnp.ones(3))),
    "scan": caught(lambda x: lax.scan(lambda c, a: (c, a[0]), 0.0, (x, jnp.ones(3)))[1]),
    "cond": caught(lambda x: lax.cond(x.sum() > 0, lambda: x, lambda: jnp.ones(3))),
    "vmap": caught(lambda x: jax.vmap(jnp.add)(x, jnp.ones(3))),
    "broadcast": caught(lambda x: jnp.broadcast_to(x, (3,))),
    "split": caught(lambda x: jnp.split(x, 3)[0]),
    "cotangent": caught(lambda x: jax.vjp(jnp.sin, x)[1](jnp.ones(3))[0]),
}
UNKNOWN: dict[str, Callable[[jax.Array], Any]] = {
    "comparison": caught(lambda x: x * 2 if x.shape[0] > 4 else x),
    "update": caught(lambda x: lax.dynamic_update_slice(x, jnp.ones(3), (0,))),
}
AS_INT: dict[str, Callable[[jax.Array], Any]] = {
    "int": lambda x: x * 2 if isinstance(x.shape[0], int) else x * 9,
    "integral": lambda x: x * 2 if isinstance(x.shape[0], numbers.Integral) else x * 9,
    "number": lambda x: x * 2 if isinstance(x.shape[0], numbers.Number) else x * 9,
    "scalar": lambda x: x * 2 if np.isscalar(x.shape[0]) else x * 9,
    "dispatched": lambda x: x * kind(x.shape[0]),
    "real": lambda x: x * 2 if hasattr(x.shape[0], "real") else x * 9,
    "parts": lambda x: x * (x.shape[0].real + x.shape[0].imag) / x.shape[0].denominator,
    "ratio": lambda x: x * x.shape[0].as_integer_ratio()[0],
    "copied": lambda x: x * copy.copy(x.shape[0]) + copy.deepcopy(x.shape)[0],
}
UNNOTICED: dict[str, Callable[[jax.Array], Any]] = {
    "remembered": lambda x: x * remembered(x.shape[0]),
    "logged": logged,
    "worded": worded,
    "inner_jit": lambda x: jax.jit(lambda v, n: v * n)(x, x.shape[0]),
    "static": lambda x: jax.jit(lambda v, n: v * n, static_argnums=1)(x, x.shape[0]),
    "indices": lambda x: x[x.shape[0] // 2] + x[-1] + x[:1],
    "try": caught(lambda x: x + x.reshape(-1)[::-1]),
}


def all_of(*tables: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(f, id=f"{k}_{name}") for k, t in enumerate(tables) for name, f in t.items()
    ]


@pytest.mark.parametrize("fun", all_of(HASHES, TEXTS, REFUSALS))
def test_what_no_comparison_tells_is_a_doubt_with_its_line(fun):
    doubts = record(fun, "n").doubts
    assert doubts
    assert all("test_observations.py" in d or "<string>" in d for d in doubts)


@pytest.mark.parametrize("fun", all_of(ERRORS))
def test_a_caught_error_of_shapes_leaves_a_comparison_or_a_doubt(fun):
    recorder = record(fun, "n")
    assert recorder.guards or recorder.besides or recorder.doubts


@pytest.mark.parametrize("fun", all_of(UNKNOWN))
def test_a_caught_question_stays_a_question(fun):
    assert record(fun, "n").undecided is not None


@pytest.mark.parametrize("fun", all_of(AS_INT, UNNOTICED))
def test_what_an_int_does_and_what_is_only_shown_or_remembered_leaves_no_doubt(fun):
    recorder = record(fun, "n")
    assert not recorder.doubts and not recorder.guards and not recorder.besides


def check(fun: Callable[..., Any], function: Callable[..., Any], sizes: tuple[int, ...]) -> None:
    for size in sizes:
        x = np.arange(1.0, size + 1, dtype=np.float32)
        try:
            want = jax.jit(fun)(x)
        except TypeError as error:
            with pytest.raises(type(error)):
                function(x)
            continue
        got = function(x)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=str(size))


# A hash as a number differs from one process to the next, and that of an aval everywhere.
RIGHT = {
    **{f"hash_{k}": f for k, f in HASHES.items()},
    **{f"text_{k}": f for k, f in TEXTS.items()},
    **{f"refusal_{k}": f for k, f in REFUSALS.items()},
    **{f"error_{k}": f for k, f in ERRORS.items()},
    **{f"unknown_{k}": f for k, f in UNKNOWN.items()},
    **{f"int_{k}": f for k, f in AS_INT.items()},
    "reshape_to_numbers": lambda x: jnp.tile(x, 3).reshape(3, 3),
}
QUICK = ("hash_dataclass", "text_table", "refusal_int", "error_add", "int_integral")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", QUICK)
def test_results_are_those_of_jit(name):
    fun = RIGHT[name]
    specs = {"shapes": ("n",), "constraints": ("n <= 9",), "poison": True, "max_executables": 2}
    check(fun, sod2jax.optimize(fun, **specs), (1, 3, 4, 9))
    check(fun, sod2jax.optimize(fun), (2, 3, 7))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name in RIGHT if name not in QUICK])
def test_all_results_are_those_of_jit(name):
    fun = RIGHT[name]
    specs = {"shapes": ("n",), "constraints": ("n <= 9",), "poison": True, "max_executables": 2}
    check(fun, sod2jax.optimize(fun, **specs), (1, 2, 3, 4, 6, 9))
    check(fun, sod2jax.optimize(fun), (2, 3, 7, 9))


def test_texts_of_errors_that_jax_words_ahead_are_no_doubt():
    @jax.custom_vjp
    def doubled(x: jax.Array) -> jax.Array:
        return 2 * x

    doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (3 * g,))

    def fun(x: jax.Array) -> jax.Array:
        return lax.scan(lambda c, _: (doubled(c), None), x, None, length=3)[0].sum()

    optimized = sod2jax.optimize(jax.grad(fun), shapes=("n",), on_unsupported="error")
    for size in (5, 1, 8):
        x = np.arange(1, size + 1, dtype=np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(jax.grad(fun))(x))
    assert "trust: proved" in optimized.explain()


def test_the_text_of_a_callable_that_jax_names_is_no_doubt():
    @dataclasses.dataclass(frozen=True)
    class Scale:
        size: Any

        def __call__(self, x: jax.Array) -> jax.Array:
            return x * self.size

        __hash__ = object.__hash__

    optimized = sod2jax.optimize(lambda x: jax.jit(Scale(x.shape[0]))(x), shapes=("n",))
    for size in (5, 1, 8):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), x * size)
    assert "trust: proved" in optimized.explain()
