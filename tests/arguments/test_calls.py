"""Calls keep their meaning on the way through: positions, names, defaults, static arguments."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.arguments.calls import Caller
from sod2jax.options import JitKeywords


def caller(fun, **static):
    return Caller(fun, JitKeywords(**static))


def through(fun, *args, static=None, **kwargs):
    """What the function gets when its dynamic arguments pass by position."""
    made = caller(fun, **(static or {}))
    call = made.read(args, kwargs)
    arguments, order, function = made.named(call)
    assert [call.leaves[k] for k in order] == jax.tree.leaves(list(arguments.values()))
    return function(*arguments.values())


def everything(x, y=10, *rest, flag=1, **more):
    return x, y, rest, flag, more


NUMS = {"static_argnums": (1,)}
NAMES = {"static_argnames": ("flag",)}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((), {"x": 1}),
        ((1, 2), {}),
        ((1,), {"y": 2}),
        ((), {"y": 2, "x": 1}),
        ((1, 2, 3, 4), {}),
        ((1, 2, 3, 4), {"flag": 5, "b": 6, "a": {"z": 7, "c": None}}),
    ],
)
@pytest.mark.parametrize(
    "static", [{}, NUMS, NAMES, {"static_argnames": ("a",)}, {"static_argnums": (0, 2)}]
)
def test_a_function_gets_what_it_was_called_with(args, kwargs, static):
    assert through(everything, *args, static=static, **kwargs) == everything(*args, **kwargs)


@pytest.mark.parametrize(
    ("static", "args", "kwargs", "dynamic"),
    [
        ({"static_argnums": (1,)}, (1, "mode"), {}, [1]),
        ({"static_argnums": (1,)}, (1,), {"y": "mode"}, [1]),
        ({"static_argnames": ("y",)}, (1, "mode"), {}, [1]),
        ({"static_argnames": ("y",)}, (), {"x": 1, "y": "mode"}, [1]),
        ({"static_argnums": (-1,)}, (1, "mode"), {}, [1]),
        ({"static_argnames": ("flag",)}, (1, 2, 3, 4), {"flag": "mode"}, [1, 2, 3, 4]),
        ({"static_argnames": ("kind",)}, (1,), {"kind": "mode", "other": 2}, [1, 2]),
    ],
)
def test_static_arguments_are_not_leaves(static, args, kwargs, dynamic):
    call = caller(everything, **static).read(args, kwargs)
    assert sorted(call.leaves) == dynamic
    assert [value for _, value in call.static] == ["mode"]
    assert through(everything, *args, static=static, **kwargs) == everything(*args, **kwargs)


def test_arguments_are_named_by_parameter():
    made = caller(everything)
    arguments, _, _ = made.named(made.read((1, 2, 3), {"flag": 4, "b": 5}))
    assert arguments == {"x": 1, "y": 2, "rest": (3,), "flag": 4, "more": {"b": 5}}


def test_a_call_that_does_not_fit_is_refused_as_python_does():
    made = caller(lambda x, y: x)
    with pytest.raises(TypeError, match=r"<lambda>\(x, y\): missing a required argument: 'y'"):
        made.named(made.read((1,), {}))
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        made.named(made.read((1, 2), {"z": 3}))


def key(*args, static=None, **kwargs):
    return caller(everything, **(static or {})).read(args, kwargs).key


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_calls_of_one_shape_share_a_key():
    assert key(zeros(2)) == key(np.ones(2, np.float32))
    assert hash(key(zeros(2))) == hash(key(zeros(2)))
    assert key(jnp.zeros(2)) == key(jnp.ones(2))
    assert key(1.0) == key(2.0)


@pytest.mark.parametrize(
    "other",
    [zeros(3), zeros(2, 1), zeros(2, dtype=np.int32), [zeros(2)], None],
    ids=["size", "rank", "dtype", "tree", "none"],
)
def test_other_shapes_dtypes_and_trees_have_keys_of_their_own(other):
    assert key(zeros(2)) != key(other)


def test_structs_have_the_dtypes_that_jax_gives_arrays():
    f = sod2jax.optimize(lambda x, y: x.sum() + y, shapes=("n", "n"), buckets={"n": (8,)})
    f.compile(jax.ShapeDtypeStruct((1,), np.float64), jax.ShapeDtypeStruct((1,), np.int64))
    f(np.ones(3), np.ones(3, np.int64))
    assert (f.stats().traces, f.stats().compiles) == (1, 1)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
    g = sod2jax.optimize(jax.random.key_data, shapes=("n",), buckets={"n": (8,)})
    assert g.compile(keys)(jax.random.split(jax.random.key(0), 3)).shape == (3, 2)


def test_weak_types_have_keys_of_their_own():
    assert len({key(1), key(1.0), key(True), key(np.float32(1.0)), key(np.int32(1))}) == 5


def test_static_values_have_keys_of_their_own_types_included():
    keys = {key(zeros(2), value, static=NUMS) for value in (1, 2, 1.0, True, "1")}
    assert len(keys) == 5


def test_settings_of_jax_that_tracing_reads_are_part_of_the_key():
    before = key(zeros(2))
    with jax.default_matmul_precision("float32"):
        assert key(zeros(2)) != before
    with jax.enable_x64(True):
        assert key(zeros(2)) != before
    assert key(zeros(2)) == before


def test_knows_a_call_inside_a_transformation():
    made = caller(everything)
    seen = []

    def spy(x):
        seen.append(made.read((zeros(2), {"a": x}), {}).is_traced)
        return x

    jax.jit(spy)(1.0)
    jax.grad(spy)(1.0)
    jax.vmap(spy)(jnp.ones(2))
    spy(1.0)
    assert seen == [True, True, True, False]


def test_methods_partials_and_builtins():
    class Model:
        def __call__(self, x, scale=2):
            return x * scale

    assert through(Model(), 3) == 6
    assert through(Model().__call__, 3, scale=4) == 12
    assert through(functools.partial(everything, 1, flag=2), 3) == everything(1, 3, flag=2)
    assert through(max, 3, 4) == 4


def test_calls_print_their_arrays_and_static_values():
    def step(x, mode, scale=1.0):
        return x

    made = caller(step, static_argnums=(1,))
    assert repr(made) == "Caller(step(x, mode, scale))"
    call = made.read((np.ones((3, 4), np.float32), "fast"), {"scale": 2.0})
    assert repr(call) == "Call(float32[3, 4], 2.0, static 1='fast')"
    many = caller(everything).read((np.zeros((2, 0)),) * 6, {})
    assert repr(many) == f"Call({'float64[2, 0], ' * 4}2 more)"


@pytest.mark.parametrize(
    ("keywords", "args", "kwargs", "donated"),
    [
        ({}, (1, 2), {}, []),
        ({"donate_argnums": (0,)}, ([1, 2], 3), {}, [0, 1]),
        ({"donate_argnums": (1,)}, ([1, 2], 3), {}, [2]),
        ({"donate_argnums": (-1,)}, (1, [2, 3]), {}, [1, 2]),
        ({"donate_argnums": (1,)}, (1,), {"y": 2}, [1]),
        ({"donate_argnames": ("y",)}, (1, 2), {"flag": 3}, [1]),
        ({"donate_argnames": ("flag",)}, (1, 2), {"flag": 3, "a": 4}, [3]),
        ({"donate_argnums": (2,)}, (1, 2, 3, 4), {}, [2]),
        ({"donate_argnums": (1,), "static_argnums": (0,)}, ("mode", [1, 2]), {}, [0, 1]),
        ({"donate_argnums": (2,), "static_argnums": (1,)}, (1, "mode", 3), {}, [1]),
        ({"donate_argnames": ("y",), "static_argnums": (0,)}, (), {"x": "m", "y": 2}, [0]),
    ],
)
def test_donated_arguments_are_leaves_that_are_marked(keywords, args, kwargs, donated):
    made = caller(everything, **keywords)
    for _ in range(2):
        assert sorted(made.read(args, kwargs).donated) == donated
