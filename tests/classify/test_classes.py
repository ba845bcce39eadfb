from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.extend.core import Primitive

from sod2jax.classify import DimKind, OpClass, Summary, classify, dimension_kind, summarise
from sod2jax.classify.table import GROUPS, OPERATOR_CLASSES
from sod2jax.errors import UnsupportedPrimitiveError
from tests.ir.primitives import every_name


def trace(fun, *shapes: str, constraints=()):
    """Jaxpr of a function of float32 arrays with symbolic dimensions."""
    scope = jax.export.SymbolicScope(constraints)
    dims = [jax.export.symbolic_shape(shape, scope=scope) for shape in shapes]
    return jax.jit(fun).trace(*[jax.ShapeDtypeStruct(d, jnp.float32) for d in dims]).jaxpr


def equation(fun, *shapes: str, name: str, constraints=()):
    """The only equation of a traced function that binds the primitive `name`."""
    eqns = trace(fun, *shapes, constraints=constraints).eqns
    (eqn,) = [eqn for eqn in eqns if eqn.primitive.name == name]
    return eqn


def test_every_primitive_of_the_vocabulary_has_one_class() -> None:
    counts = Counter(name for _, names in GROUPS.values() for name in names)
    assert set(counts) == every_name()
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iota", OpClass.ISDO),
        ("shape_assertion", OpClass.ISDO),
        ("zeros_like", OpClass.ISDO),
        ("add", OpClass.ISDOS),
        ("dot_general", OpClass.ISDOS),
        ("conv_general_dilated", OpClass.ISDOS),
        ("dynamic_slice", OpClass.ISDOS),
        ("scatter-add", OpClass.ISDOS),
        ("sort", OpClass.ISDOS),
        ("random_bits", OpClass.ISDOS),
        ("cond", OpClass.EDO),
        ("while", OpClass.EDO),
        ("pure_callback", OpClass.EDO),
        ("ffi_call", OpClass.EDO),
        ("jit", OpClass.STRUCTURAL),
        ("remat2", OpClass.STRUCTURAL),
        ("shard_map", OpClass.STRUCTURAL),
        ("custom_vjp_call", OpClass.STRUCTURAL),
    ],
)
def test_class_by_name(name: str, expected: OpClass) -> None:
    assert OPERATOR_CLASSES[name] is expected


def test_no_primitive_is_isvdos_by_name() -> None:
    assert OpClass.ISVDOS not in OPERATOR_CLASSES.values()


def test_shape_read_as_data_is_isdo() -> None:
    eqn = equation(lambda x: x + x.shape[0], "b", name="dim_as_value")
    assert classify(eqn) is OpClass.ISDO
    assert classify(eqn, frozenset({"b"})) is OpClass.ISDO  # the output is a scalar all the same


def test_broadcast_literal_is_a_constructor() -> None:
    filled = equation(lambda x: jnp.ones(x.shape), "b, s", name="broadcast_in_dim")
    spread = equation(lambda x: jnp.broadcast_to(x, (2, *x.shape)), "b, s", name="broadcast_in_dim")
    assert classify(filled) is OpClass.ISDO
    assert classify(spread) is OpClass.ISDOS


def test_scan_is_its_body_only_over_a_fixed_length() -> None:
    def total(x):
        return lax.scan(lambda carry, row: (carry + row, None), jnp.zeros(x.shape[1:]), x)[0]

    assert classify(equation(total, "4, s", name="scan")) is OpClass.STRUCTURAL
    assert classify(equation(total, "b, 4", name="scan")) is OpClass.EDO


@pytest.mark.parametrize(
    ("fun", "name"),
    [
        (lambda x: x.reshape(-1), "reshape"),
        (lambda x: jnp.ones(x.shape), "broadcast_in_dim"),
        (lambda x: jnp.arange(x.shape[1]), "iota"),
        (lambda x: lax.slice(x, (0, 1), x.shape), "slice"),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 0), (0, x.shape[1], 0))), "pad"),
        (lambda x: lax.top_k(x, x.shape[1]), "top_k"),
    ],
)
def test_shape_parameter_from_a_value_is_isvdos(fun, name: str) -> None:
    eqn = equation(fun, "b, u", name=name, constraints=("u >= 4",))
    assert classify(eqn, frozenset({"u"})) is OpClass.ISVDOS
    assert classify(eqn, frozenset({"s"})) is classify(eqn)
    assert classify(eqn) in (OpClass.ISDO, OpClass.ISDOS)


def test_elementwise_over_a_value_derived_size_stays_isdos() -> None:
    eqn = equation(jnp.sin, "u", name="sin")
    assert classify(eqn, frozenset({"u"})) is OpClass.ISDOS


def test_unknown_primitive_is_refused_with_its_source() -> None:
    unheard_p = Primitive("unheard_of")
    unheard_p.def_abstract_eval(lambda x: x)
    closed = trace(lambda x: unheard_p.bind(x), "s")
    with pytest.raises(UnsupportedPrimitiveError, match="unheard_of") as raised:
        summarise(closed)
    assert raised.value.primitive == "unheard_of"
    assert "test_classes.py" in raised.value.source
    assert "register_rule" in raised.value.remedy and ".py" not in raised.value.remedy


def test_unknown_primitive_without_symbols_runs_as_it_is() -> None:
    unheard_p = Primitive("unheard_of")
    unheard_p.def_abstract_eval(lambda x: x)
    assert summarise(trace(lambda x: unheard_p.bind(x.sum()), "s")).edo == 1


def test_dimension_kinds() -> None:
    b, s, u = jax.export.symbolic_shape("b, s, u")
    of_values = frozenset({"u"})
    kinds = [dimension_kind(d, of_values) for d in (3, s, b * s, s // 2, s + 1, u, b * u)]
    inferred = DimKind.OP_INFERRED
    assert kinds == [
        *(DimKind.KNOWN, DimKind.SYMBOLIC, inferred, inferred, inferred, DimKind.NAC, DimKind.NAC)
    ]
    assert dimension_kind(u) is DimKind.SYMBOLIC


def program(x, w, u):
    y = lax.dot(x, w)  # [b, 8]
    y = jax.nn.relu(y)  # custom_jvp_call, jit, max: each [b, 8]
    y = jnp.concatenate([y, y])  # [2*b, 8]
    y = y + jnp.ones(y.shape)  # broadcast_in_dim, add: each [2*b, 8]
    y = y * x.shape[0]  # dim_as_value [], convert_element_type [], mul [2*b, 8]
    positive = jnp.sum(u) > 0  # reduce_sum [], gt []
    y = lax.cond(positive, jnp.sin, jnp.cos, y)  # convert_element_type [], the others [2*b, 8]
    return y.reshape(-1), u.reshape(1, -1)  # [16*b], [1, u]


def test_summary_counts_every_operator_and_dimension() -> None:
    summary = summarise(trace(program, "b, s", "s, 8", "u"), frozenset({"u"}))
    assert summary == Summary(
        isdo=2, isdos=12, isvdos=1, edo=1, structural=2, known=12, symbolic=4, op_inferred=8, nac=1
    )
    assert str(summary).splitlines() == [
        "operators: 2 ISDO, 12 ISDOS, 1 ISVDOS, 1 EDO, 2 structural",
        "dimensions: 12 numbers, 4 symbols, 8 computed from symbols, 1 known only when it runs",
    ]


def test_summary_leaves_out_scalar_combiners() -> None:
    closed = trace(lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * b, (0,)), "b, s")
    summary = summarise(closed)
    assert (summary.isdos, summary.structural, summary.symbolic) == (1, 0, 1)


def test_summary_of_loops_counts_their_bodies_once() -> None:
    def fun(x):
        x = lax.fori_loop(0, x.shape[0], lambda i, y: jnp.sin(y), x)
        return lax.scan(lambda carry, _: (jnp.cos(carry), None), x, length=7)[0]

    summary = summarise(trace(fun, "n"))
    # while with lt, add, sin; scan with cos; dim_as_value
    assert (summary.edo, summary.structural, summary.isdos, summary.isdo) == (1, 1, 4, 1)


def test_summary_sees_the_sub_jaxprs_of_derivatives() -> None:
    closed = trace(jax.grad(lambda x: jax.checkpoint(jnp.sin)(x).sum()), "n")
    summary = summarise(closed)
    assert summary.structural == 1  # remat2
    assert summary.edo == summary.isvdos == 0
    assert summary.nac == summary.known == summary.op_inferred == 0
