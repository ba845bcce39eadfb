"""What errors say of specs, options and calls that do not fit."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import (
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from tests.attention import W, attention, normal, optimized


def raises(error, fun, *args, match, **options):
    with pytest.raises(error, match=match):
        sod2jax.optimize(fun, **options)(*args)


def test_wrong_number_of_specs():
    raises(
        SpecError,
        attention,
        normal(1, 2, 4),
        W,
        shapes=("b, s, 4",),
        match=r"shapes has 1 spec, but the function was called with 2 arguments \['x', 'w'\]: "
        "write one spec per argument, None where the shape is fixed",
    )


def test_rank_differs():
    raises(
        SpecError,
        attention,
        normal(1, 2, 4),
        W,
        shapes=("b, s", None),
        match=r"the spec 'b, s' of 'x' has 2 dimensions, but its shape \(1, 2, 4\) has 3",
    )


def test_two_arguments_disagree():
    raises(
        ShapeError,
        lambda x, y: x,
        normal(3),
        normal(4),
        shapes=("s", "s"),
        match=r"axis 0 of 'y' has size 4, but its spec 's' makes it 3 \(s = 3 from axis 0 of 'x'\)",
    )


@pytest.mark.parametrize("where", ["buckets", "constraints"])
def test_unknown_symbol(where):
    options = {"buckets": {"q": (8,)}} if where == "buckets" else {"constraints": ("q <= 8",)}
    match = {
        "buckets": r"buckets names 'q', but the symbols of the specs are \['s'\]",
        "constraints": "constraint 'q <= 8' names 'q', which is in no spec",
    }
    raises(SpecError, lambda x: x, normal(3), shapes=("s",), **options, match=match[where])


def test_buckets_outside_the_range():
    raises(
        SpecError,
        lambda x: x,
        normal(3),
        shapes=("s",),
        constraints=("s <= 8",),
        buckets={"s": (4, 16)},
        match=r"buckets\['s'\] = \(4, 16\) leaves the range 1 <= s <= 8",
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shapes": "b, s"}, "shapes must be a sequence with one spec per argument"),
        ({"shapes": 3}, "shapes must be a sequence with one spec per argument"),
        ({"constraints": "s <= 8"}, "constraints must be a sequence of strings"),
        ({"constraints": ("s = 8",)}, "must compare sizes by <=, <, >=, > or =="),
        ({"constraints": ("s <=",)}, "must compare sizes by <=, <, >=, > or =="),
        ({"constraints": ("s <= 8 != 3",)}, "must compare sizes by <=, <, >=, > or =="),
        ({"constraints": ("s <= 8.5",)}, "'8.5' is not a dimension expression"),
        ({"max_executables": 2.5}, "max_executables must be an integer of at least 1; got 2.5"),
        ({"buckets": (8, 16)}, "buckets must be a dictionary from symbols to sizes"),
        ({"buckets": {"s": ()}}, r"buckets\['s'\] must be positive integers"),
        ({"buckets": {"s": (0, 8)}}, r"buckets\['s'\] must be positive integers"),
        ({"buckets": {"s": (8.0,)}}, r"buckets\['s'\] must be positive integers"),
        ({"max_executables": 0}, "max_executables must be an integer of at least 1; got 0"),
        ({"on_unsupported": "ignore"}, "on_unsupported must be one of"),
    ],
)
def test_malformed_options(options, match):
    with pytest.raises(SpecError, match=match):
        sod2jax.optimize(lambda x: x, **{"shapes": ("s",), **options})


def test_what_a_function_returns_is_told_of_by_its_name():
    def fun(x):
        return {"sum": x.sum(), "name": "a text"}

    for options in ({}, {"shapes": ("s",)}, {"shapes": ("s",), "on_unsupported": "error"}):
        f = sod2jax.optimize(fun, **options)
        for call in (f, f.trace):
            with pytest.raises(TypeError, match="fun") as caught:
                call(normal(3))
            assert "_apply" not in str(caught.value)
            assert "'name'" in str(caught.value)


def test_calls_that_do_not_fit_are_refused_as_python_and_jax_do():
    f = optimized(lambda x, y: x + y, shapes=("s", "s"), buckets={"s": (8,)})
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        f(normal(3))
    with pytest.raises(TypeError, match="not a valid JAX type"):
        f(normal(3), "text")
    with pytest.raises(SpecError, match="'x' is None, but its spec is 's': pass an array"):
        f(None, None)
    struct = jax.ShapeDtypeStruct((3,), np.float32)
    for fun in (f, sod2jax.optimize(lambda x, y: x + y)):
        for _ in range(2):
            with pytest.raises(TypeError, match=r"float32\[3\], which has no values: .* trace\("):
                fun(normal(3), struct)
        fun(normal(3), normal(3))


def test_errors_have_one_base():
    for error in (SpecError, ShapeError, TraceError, UnsupportedPrimitiveError):
        assert issubclass(error, sod2jax.errors.Sod2jaxError)
    assert issubclass(ShapeError, ValueError)


def test_a_spec_in_the_place_of_the_function():
    with pytest.raises(TypeError, match=r"function, and got 'b, 16'; specs go into shapes="):
        sod2jax.optimize("b, 16")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"poison": "yes"}, "poison must be one of"),
        ({"constraints": (5,)}, "a constraint must be a string"),
        ({"constraints": ("b",)}, "such as 's <= 512' or '1 <= s < 513'"),
    ],
)
def test_what_is_no_option_says_what_is(options, text):
    with pytest.raises(sod2jax.errors.SpecError, match=text):
        sod2jax.optimize(lambda x: x, shapes=("b",), **options)
