"""Specs against the arguments of a call: matching, sizes of symbols, and errors."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.arguments.signature import leaves_of, solve, spec_of
from sod2jax.errors import ShapeError, SpecError
from sod2jax.ir import dims


def zeros(*shape):
    return np.zeros(shape, np.float32)


def shapes(arguments, specs):
    return {leaf.name: leaf.shape for leaf in leaves_of(arguments, specs)}


def symbols(*names):
    return tuple(n if isinstance(n, int) else dims.parse(n) for n in names)


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        (None, (2, 3), (2, 3)),
        ("b, s", (2, 3), ("b", "s")),
        ("(b, s)", (2, 3), ("b", "s")),
        ("b, s,", (2, 3), ("b", "s")),
        (" b ,3 ", (2, 3), ("b", 3)),
        ("_, s", (2, 3), (2, "s")),
        ("b, ...", (2, 3, 4), ("b", 3, 4)),
        ("..., s", (2, 3, 4), (2, 3, "s")),
        ("b, ..., s", (2, 3, 4, 5), ("b", 3, 4, "s")),
        ("b, s, ...", (2, 3), ("b", "s")),
        ("...", (), ()),
        ("", (), ()),
        ("()", (), ()),
        ("floordiv(s, 2)", (3,), ("floordiv(s, 2)",)),
        ("b, max(s, 2)", (2, 3), ("b", "max(s, 2)")),
        ("(b, mod(s, 2))", (2, 1), ("b", "mod(s, 2)")),
        ("(b + 1), s", (2, 3), ("b + 1", "s")),
        ("(b + 1)*(s + 1)", (6,), ("(b + 1)*(s + 1)",)),
    ],
)
def test_reads_a_spec(spec, shape, expected):
    assert shapes({"x": zeros(*shape)}, {"x": spec}) == {"x": symbols(*expected)}


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("b,, 16", "spec 'b,, 16' of 'x' has a comma with no dimension before it.* '_' for one"),
        (", 16", "comma with no dimension before it"),
        (",", "comma with no dimension before it"),
        ("..., ..., 16", r"'\.\.\.' more than once.* '_' for each further axis"),
    ],
)
def test_a_spec_that_leaves_a_gap_is_refused(spec, match):
    with pytest.raises(SpecError, match=match):
        shapes({"x": zeros(3, 16)}, {"x": spec})


def test_none_has_a_spec_only_beside_arrays():
    assert shapes({"x": None, "y": zeros(2)}, {"x": "s", "y": "s"}) == {"y": symbols("s")}
    assert shapes({"x": None}, {"x": None}) == {}
    with pytest.raises(SpecError, match="'x' is None, but its spec is 's': pass an array"):
        shapes({"x": None}, {"x": "s"})


def test_a_spec_is_a_prefix_of_the_argument_tree():
    tree = {"ids": zeros(2, 5), "deep": [zeros(5), (zeros(2), None)]}
    specs = {"x": {"ids": "b, s", "deep": ["s", "b"]}}
    assert shapes({"x": tree}, specs) == {
        "x['deep'][0]": symbols("s"),
        "x['deep'][1][0]": symbols("b"),
        "x['ids']": symbols("b", "s"),
    }


def test_one_spec_serves_a_whole_tree():
    assert shapes({"x": [zeros(2), zeros(2)]}, {"x": "n"}) == {
        "x[0]": symbols("n"),
        "x[1]": symbols("n"),
    }
    assert shapes({"x": [zeros(2), zeros(3)], "y": zeros(4)}, {}) == {
        "x[0]": (2,),
        "x[1]": (3,),
        "y": (4,),
    }


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ([zeros(2), zeros(2)], ["n"]),
        ({"a": zeros(2)}, {"b": "n"}),
        ((zeros(2),), ["n"]),
    ],
)
def test_a_spec_of_another_tree_is_refused(value, spec):
    with pytest.raises(SpecError, match=r"the spec of 'x' is .* no prefix of the argument's tree"):
        leaves_of({"x": value}, {"x": spec})


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (("n", 16), "'x' is an array: write its dimensions as one string, 'n, 16'"),
        (["n", None], "as one string, 'n, _'"),
        ({"a": "n"}, "as one string, such as 'n, 16'"),
        ("n; 16", r"has 1 dimension, .* separate them by commas, 'n, 16'"),
        ("n 16", "separate them by commas, 'n, 16'"),
        ("n x 16", "separate them by commas, 'n, 16'"),
        ("max_n", r"has 1 dimension, but its shape \(3, 16\) has 2$"),
        ("n, *", r"in the spec 'n, \*' of 'x', '\*' is not .*'_' takes the size of the call"),
        ("None, 16", "'None' is not a dimension expression"),
        ("-1, 16", "-1 is no size; '_' takes the size of the call"),
    ],
)
def test_what_was_meant_by_a_spec_is_guessed(spec, match):
    with pytest.raises(SpecError, match=match):
        shapes({"x": zeros(3, 16)}, {"x": spec})


def test_a_list_of_numbers_is_no_array():
    with pytest.raises(SpecError, match=r"'x' is a list of numbers, .* pass np\.asarray"):
        leaves_of({"x": [1.0, 2.0]}, {"x": "n"})
    assert shapes({"x": [1.0, 2.0]}, {"x": ""}) == {"x[0]": (), "x[1]": ()}


@pytest.mark.parametrize("spec", [8, (8,), {"x": 2.0}, np.float32])
def test_what_is_no_spec_is_refused(spec):
    value = (
        zeros(2) if not isinstance(spec, tuple | dict) else jax.tree.map(lambda _: zeros(2), spec)
    )
    with pytest.raises(SpecError, match=r"a spec is a string, a .* or None, but that of 'x' has"):
        leaves_of({"x": value}, {"x": spec})


@pytest.mark.parametrize("spec", ["b", "b, s, 3", "b, s, ..., t", "", "b, ..., s, t"])
def test_another_rank_is_refused(spec):
    message = r"the spec '.*' of 'x\['ids'\]' has \d dimensions?, but its shape \(2, 5\) has 2"
    with pytest.raises(SpecError, match=message):
        leaves_of({"x": {"ids": zeros(2, 5)}}, {"x": {"ids": spec}})


def test_a_fixed_size_is_checked():
    message = "axis 1 of 'x' has size 5, but its spec 'b, 3' fixes it at 3"
    with pytest.raises(ShapeError, match=message):
        leaves_of({"x": zeros(2, 5)}, {"x": "b, 3"})


def plain(x, y, z=None): ...


def gathering(x, *rest, flag=None): ...


def named_spec(fun, arguments, specs):
    return spec_of(dict.fromkeys(arguments, ()), fun, specs)


def test_specs_by_position_and_by_name():
    assert named_spec(plain, "xyz", ("a", None, "c")) == {"x": "a", "y": None, "z": "c"}
    assert named_spec(plain, "xy", ("a", "b")) == {"x": "a", "y": "b"}
    assert named_spec(plain, "xy", ("a", "b", "c"))["y"] == "b"
    assert named_spec(plain, "xz", ("a", "c")) == {"x": "a", "z": "c"}
    assert named_spec(plain, "xyz", {"z": "c"}) == {"z": "c"}


def test_specs_of_gathered_arguments():
    taken = {"x": 0, "rest": (1, 2)}
    assert spec_of(taken, gathering, ("a", "b", "c")) == {"x": "a", "rest": ("b", "c")}
    assert spec_of(taken, gathering, ("a", "b")) == {"x": "a", "rest": "b"}
    assert spec_of({"x": 0}, gathering, ("a",))["x"] == "a"


def test_specs_of_a_partial_leave_out_what_it_binds():
    assert named_spec(functools.partial(plain, 1), "yz", ("b", "c")) == {"y": "b", "z": "c"}


@pytest.mark.parametrize("count", [1, 4])
def test_a_wrong_number_of_specs_is_refused(count):
    message = (
        rf"shapes has {count} specs?, but the function was called with 2 arguments \['x', 'y'\]"
    )
    with pytest.raises(SpecError, match=message):
        named_spec(plain, "xy", ("a",) * count)


def test_an_unknown_parameter_is_refused():
    message = r"shapes names \['w'\], but the parameters are \['x', 'y', 'z'\]"
    with pytest.raises(SpecError, match=message):
        named_spec(plain, "xy", {"w": "a"})


def solved(**arrays):
    """Sizes from ``name=(spec, shape)``."""
    arguments = {name: zeros(*shape) for name, (_, shape) in arrays.items()}
    return solve(leaves_of(arguments, {name: spec for name, (spec, _) in arrays.items()}))


@given(st.integers(1, 4), st.integers(-3, 9), st.integers(1, 9))
def test_solves_linear_expressions(slope, offset, k):
    size = slope * k + offset
    if size < 1:
        return
    assert (
        solved(x=(f"{slope}*k + {offset}" if offset >= 0 else f"{slope}*k - {-offset}", (size,)))[
            "k"
        ]
        == k
    )


@given(st.integers(1, 60), st.integers(0, 9), st.integers(0, 3))
def test_solves_what_grows_with_a_symbol(k, offset, slope):
    size = k * k + slope * k + offset
    assert solved(x=(f"k*k + {slope}*k + {offset}", (size,)))["k"] == k
    assert solved(x=("b", (slope + 1,)), y=("b*k*k", ((slope + 1) * k * k,)))["k"] == k


def test_solves_what_other_axes_determine():
    assert solved(x=("a + b", (8,)), y=("2*a + 100", (106,))) == {"a": 3, "b": 5}
    assert solved(x=("a*b", (12,)), y=("b", (4,))) == {"a": 3, "b": 4}
    assert solved(x=("floordiv(a, 2)", (3,)), y=("a + 10", (17,))) == {"a": 7}
    assert solved(x=("a*floordiv(b, 2)", (6,)), y=("b", (5,))) == {"a": 3, "b": 5}


def test_two_axes_that_disagree_are_named():
    message = r"axis 0 of 'y' has size 4, but its spec 's' makes it 3 \(s = 3 from axis 1 of 'x'\)"
    with pytest.raises(ShapeError, match=message):
        solved(x=("b, s", (2, 3)), y=("s", (4,)))


def test_an_expression_that_disagrees_is_named():
    message = r"axis 0 of 'y' has size 7, but its spec '2\*s' makes it 6 \(s = 3 from axis 0 of 'x'"
    with pytest.raises(ShapeError, match=message):
        solved(x=("s", (3,)), y=("2*s", (7,)))


@pytest.mark.parametrize(
    ("spec", "size"),
    [("2*k", 7), ("k*k", 7), ("k*k + 1", 1), ("k + 5", 3), ("k + 5", 5), ("6 - k", 9)],
)
def test_sizes_that_no_symbol_gives(spec, size):
    message = f"axis 0 of 'x' has size {size}, which no 'k' of 1 or more gives for its spec"
    with pytest.raises(ShapeError, match=message):
        solved(x=(spec, (size,)))


@pytest.mark.parametrize(
    "spec", ["floordiv(s, 2)", "s*s - 2*s", "mod(s, 8)", "min(s, 4)", "s*t", "s + t"]
)
def test_symbols_that_no_axis_determines(spec):
    with pytest.raises(SpecError, match=r"no axis determines \['s'.*linear in it"):
        solved(x=(spec, (4,)))


def test_a_program_is_specialised_on_all_but_sizes_of_symbols():
    def key(array, spec):
        return leaves_of({"x": array}, {"x": spec})[0].key

    assert key(zeros(2, 3), "b, s") == key(zeros(4, 5), "b, s")
    assert key(zeros(2, 3), "b, _") != key(zeros(2, 4), "b, _")
    assert key(zeros(2), "b") != key(np.zeros(2, np.int32), "b")
    assert key(1.0, None) != key(np.float32(1.0), None)


def test_arrays_may_be_abstract():
    (leaf,) = leaves_of({"x": jax.ShapeDtypeStruct((2, 3), np.int32)}, {"x": "b, s"})
    assert leaf.shape == symbols("b", "s")
    assert (leaf.aval.shape, leaf.aval.dtype) == ((2, 3), np.int32)


def test_leaves_print_their_specs():
    arguments = {"x": {"mask": np.ones((2, 7), np.float32)}}
    (leaf,) = leaves_of(arguments, {"x": {"mask": "_, s"}})
    assert repr(leaf) == "Leaf(x['mask']: float32[2, s])"


def test_a_struct_with_symbolic_dimensions_is_a_spec():
    b, s = jax.export.symbolic_shape("b, s")
    struct = jax.ShapeDtypeStruct((b, s // 2, 3), np.float32)
    assert shapes({"x": zeros(2, 4, 3)}, {"x": struct})["x"] == symbols("b", "floordiv(s, 2)", 3)
    scalar = jax.ShapeDtypeStruct((), np.float32)
    tree = {"y": struct, "z": scalar}
    read = shapes({"x": {"y": zeros(2, 4, 3), "z": zeros()}}, {"x": tree})
    assert read == {"x['y']": symbols("b", "floordiv(s, 2)", 3), "x['z']": ()}


def test_keywords_that_go_into_one_dictionary_have_specs_by_name():
    def fun(x, **rest):
        return x, rest

    arguments = {"x": zeros(2), "rest": {"mask": zeros(2), "scale": zeros(3)}}
    specs = spec_of(arguments, fun, {"x": "n", "mask": "n", "absent": "n"})
    assert shapes(arguments, specs) == {
        "x": symbols("n"),
        "rest['mask']": symbols("n"),
        "rest['scale']": (3,),
    }
    assert spec_of({"x": zeros(2)}, fun, {"x": "n", "mask": "n"})["x"] == "n"
    whole = {"x": "n", "rest": {"mask": "n", "scale": None}}
    assert spec_of(arguments, fun, whole) == whole
    with pytest.raises(SpecError, match=r"shapes names \['y'\], but the parameters are \['x'\]"):
        spec_of({"x": zeros(2)}, lambda x: x, {"x": "n", "y": "n"})
