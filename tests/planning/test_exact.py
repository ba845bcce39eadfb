"""Nothing runs with exact shapes without a reason, and every reason is told once."""

from __future__ import annotations

import ast
import inspect
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax import optimized
from sod2jax.errors import ExactFallbackWarning, FunctionError, TraceError
from sod2jax.planning.exact import Exact, Fallbacks, Silent, debugging
from sod2jax.ragged import over_rows


def ones(*shape):
    return np.ones(shape, np.float32)


def by_length(x):
    return sum(x[k] for k in range(x.shape[0]))


def test_a_reason_is_told_once():
    fallbacks = Fallbacks("f", "runs slowly", "exact")
    with pytest.warns(ExactFallbackWarning, match="f runs slowly: too odd"):
        fallbacks.tell(Exact(TraceError("too odd")))
    with warnings.catch_warnings(action="error"):
        fallbacks.tell(Exact(TraceError("too odd")))
        fallbacks.tell(Exact(TraceError("asked for"), is_harmless=True))
    assert fallbacks.reasons == ("too odd", "asked for")


@pytest.mark.parametrize(
    "fun",
    [lambda x: x[x > 0], jnp.nonzero, jnp.unique, lambda x: jnp.arange(x.sum())],
    ids=["mask", "nonzero", "unique", "arange"],
)
def test_what_jit_refuses_has_a_remedy_here(fun):
    with pytest.raises((TypeError, IndexError)) as raised:
        sod2jax.optimize(fun, shapes=("n",))(ones(3))
    assert any("sod2jax.numpy: boolean_index" in note for note in raised.value.__notes__)


def test_other_errors_of_the_function_have_no_note_of_ours():
    for fun in (lambda x: -x if x.sum() > 0 else x, lambda x: x.foo()):
        with pytest.raises(Exception) as raised:
            sod2jax.optimize(fun, shapes=("n",))(ones(3))
        assert not any("sod2jax" in note for note in getattr(raised.value, "__notes__", ()))


def test_or_raised_each_time():
    fallbacks = Fallbacks("f", "runs slowly", "error")
    for _ in range(2):
        with pytest.raises(TraceError, match="too odd"):
            fallbacks.tell(Exact(TraceError("too odd")))
    fallbacks.tell(Exact(TraceError("asked for"), is_harmless=True))
    Silent().tell(Exact(TraceError("too odd")))


def test_a_function_that_fails_says_so_itself():
    exact = Exact(FunctionError.of("f", ValueError(), "no such size\nat all"))
    assert exact.reason == "f raises ValueError: no such size"
    counted = []
    fallbacks = Fallbacks("f", "runs slowly", "exact", counted.append)
    with warnings.catch_warnings(action="error"):
        fallbacks.tell(exact)
        with pytest.raises(ZeroDivisionError):
            fallbacks.run(exact, lambda: 1 // 0)
    assert counted == []
    with pytest.warns(ExactFallbackWarning, match="f runs slowly: f raises ValueError"):
        assert fallbacks.run(exact, lambda: 3) == 3
    assert counted == [exact.reason]


def only_seven(x):
    if x.shape[0] != 7:
        raise ValueError(f"no size {int(x.shape[0])}")
    return x * 2


def test_nor_is_a_warning_in_its_way():
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match="no size 3"):
        sod2jax.optimize(only_seven, shapes=("n",))(ones(3))
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match="no size 3"):
        sod2jax.ragged_vmap(only_seven, shapes=("n",))([ones(3), ones(4)])


def test_settings_are_reasons():
    assert debugging() is None
    with jax.disable_jit():
        exact = debugging()
    assert exact is not None
    assert exact.is_harmless
    assert exact.reason == "jax_disable_jit is set"


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
@pytest.mark.parametrize(
    ("fun", "sizes", "reason"),
    [
        pytest.param(lambda x: x * 2, (0, 0), "has the shape (0,)", id="no elements"),
        pytest.param(by_length, (1, 3, 9), "at almost every size", id="unrolled"),
        pytest.param(jax.lax.linalg.hessenberg, (3, 3), "hessenberg", id="no rule"),
    ],
)
def test_exact_runs_are_counted_by_reason(fun, sizes, reason):
    is_matrix = fun is jax.lax.linalg.hessenberg
    f = sod2jax.optimize(fun, shapes=("n, n",) if is_matrix else ("n",))
    for size in sizes:
        f(ones(size, size) if is_matrix else ones(size))
    stats = f.stats()
    assert stats.exact_fallbacks == len(sizes) == sum(stats.reasons.values())
    (told,) = stats.reasons
    assert reason in told
    assert f"runs with exact shapes: {told}" in f.explain()


def test_settings_and_reasons_in_the_report():
    f = sod2jax.optimize(lambda x: x * 2, shapes=("n",))
    with jax.disable_jit():
        f(ones(3))
    assert f.stats().reasons == {"jax_disable_jit is set": 1}
    assert "runs with exact shapes: jax_disable_jit is set" in f.explain()


@pytest.mark.parametrize("module", [optimized, over_rows], ids=lambda m: m.__name__)
def test_one_function_runs_exactly_and_takes_the_reason(module):
    """By type: who calls the exact executables has an ``Exact`` in hand."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    callers = [f for f in functions if _calls(f) & {"_exact", "exactly"} and f.name != "exactly"]
    assert len(callers) == 1
    annotations = [ast.unparse(a.annotation) for a in callers[0].args.args if a.annotation]
    assert "Exact" in annotations
    assert "run" in _calls(callers[0])


def _calls(function):
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {call.attr for call in calls if isinstance(call, ast.Attribute)}
