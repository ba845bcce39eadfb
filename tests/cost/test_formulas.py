"""Operations of single primitives and of small functions, against what XLA counts of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax._compat import sub_jaxprs
from sod2jax.cost import Counter, formulas
from sod2jax.ir import dims
from tests.cost.programs import BS, SIZES, close, symbolic, xla_analysis
from tests.harnesses.base import Arg

IMAGES = Arg("b, 3, s + 4, 9")
KERNEL = Arg((8, 3, 3, 3))


def _mlp(x: jax.Array, w: jax.Array, v: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(jax.nn.relu(x @ w) @ v).sum(0)


def _attention(x: jax.Array) -> jax.Array:
    return jax.nn.softmax(jnp.einsum("bsd,btd->bst", x, x)) @ x


def _normalised(x: jax.Array) -> jax.Array:
    return (x - x.mean(1, keepdims=True)) * lax.rsqrt(x.var(1, keepdims=True) + 1e-5)


def _nested(x: jax.Array) -> jax.Array:
    return jax.jit(lambda y: jax.jit(jnp.tanh)(y) @ jnp.ones((5, 5)))(x)


# (function, arguments, tolerance): XLA simplifies, merges and repeats some operations.
ROWS = {
    "matmul": (lambda x, w: x @ w, (Arg("s, 32"), Arg((32, 8))), 0.0),
    "matmul_of_symbols": (lambda x, y: x.T @ y, (Arg("s, 7"), Arg("s, b")), 0.0),
    "batched": (lambda x, y: jnp.einsum("bij,bjk->bik", x, y), (Arg("b, s, 5"), Arg("b, 5, 6")), 0),
    "elementwise": (lambda x: jnp.where(x > 0, x * 2 + 1, -x), (BS,), 0.0),
    "transcendental": (lambda x: jnp.tanh(x) + jnp.exp(x) * jnp.sqrt(jnp.abs(x)), (BS,), 0.0),
    "gelu": (jax.nn.gelu, (BS,), 0.0),
    "sigmoid": (jax.nn.sigmoid, (BS,), 0.0),
    "power": (lambda x: x**5, (BS,), 0.0),
    "sum": (lambda x: x.sum(1), (BS,), 0.0),
    "max_of_all": (lambda x: x.max(), (BS,), 0.0),
    "argmax": (lambda x: x.argmax(1), (Arg("s, 16"),), 0.25),
    "softmax": (jax.nn.softmax, (Arg("s, 16"),), 0.05),
    "layer_norm": (_normalised, (Arg("s, 16"),), 0.2),
    "window": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3), (1, 1), "VALID"),
        (Arg("b, s + 4"),),
        0.0,
    ),
    "valid_conv": (lambda x, k: lax.conv(x, k, (1, 1), "VALID"), (IMAGES, KERNEL), 0.0),
    # Products with padding are not counted by XLA.
    "same_conv": (lambda x, k: lax.conv(x, k, (1, 1), "SAME"), (IMAGES, KERNEL), 0.5),
    "sort": (lambda x: jnp.sort(x, axis=1), (Arg("s, 16"),), 1.2),
    "mlp": (_mlp, (Arg("s, 32"), Arg((32, 64)), Arg((64, 10))), 0.01),
    "attention": (_attention, (Arg("b, s, 16"),), 0.15),
    "calls": (_nested, (Arg("s, 5"),), 0.0),
    "moves": (lambda x: lax.rev(x.T.reshape(-1), (0,)), (BS,), 0.0),
    "gradient": (jax.grad(lambda x: jnp.sin(x @ x.T).sum()), (Arg("s, 5"),), 0.1),
}


@pytest.mark.parametrize("name", ROWS)
def test_flops_are_those_of_xla(name: str) -> None:
    fun, args, tolerance = ROWS[name]
    cost = Counter().jaxpr(symbolic(fun, *args))
    for sizes in SIZES:
        xla = xla_analysis(fun, sizes, *args)
        expected = xla.get("flops", 0) + xla.get("transcendentals", 0)
        ours = cost.at(sizes)
        assert close(ours.flops, expected, tolerance), f"{ours} at {sizes}, XLA: {expected}"


def equation(fun, *args: Arg):
    """The first equation of a function, or of the call that it begins with."""
    eqn = symbolic(fun, *args).eqns[0]
    bodies = [body for _, body in sub_jaxprs(eqn)]
    return bodies[0].eqns[0] if eqn.primitive.name == "jit" else eqn


@pytest.mark.parametrize(
    ("fun", "arg", "size", "each"),
    [
        (lambda x: x + 1, BS, "b*s", 1),
        (lambda x: lax.integer_pow(x, 5), BS, "b*s", 3),
        (lambda x: lax.integer_pow(x, -2), BS, "b*s", 2),
        (lambda x: lax.reduce(x, np.float32(0), lax.add, (1,)), BS, "b*s - b", 1),
        (lambda x: lax.cumsum(x, 1), BS, "b*s", 16),
        (lambda x: lax.sort(x, dimension=1), Arg("s, 16"), "16*s", 4),
        (lambda x: lax.linalg.cholesky(x, symmetrize_input=False), Arg("b, s, s"), "b*s**3", 1),
        (lambda x: lax.reshape(x, (x.shape[1], x.shape[0])), BS, "1", 0),
    ],
    ids=["add", "power", "inverse", "sum", "cumsum", "sort", "cholesky", "reshape"],
)
def test_operations_of_one_equation(fun, arg: Arg, size: str, each: int) -> None:
    terms, times = formulas.flops(equation(fun, arg))
    for sizes in SIZES:
        expected = int(dims.evaluate(dims.parse(size), sizes))
        assert int(dims.evaluate(terms, sizes)) * times == expected * each


def test_what_fuses_and_what_takes_operands_in() -> None:
    chains = equation(jnp.tanh, BS), equation(lambda x: lax.rev(x, (0,)), BS)
    total = equation(lambda x: lax.argmax(x, 1, np.int32), BS)
    assert all(map(formulas.fuses, chains)) and all(map(formulas.takes_in, chains))
    assert not formulas.fuses(total) and formulas.takes_in(total)
    assert list(map(formulas.is_transcendental, (*chains, total))) == [True, False, False]


def test_bytes_of_an_operand() -> None:
    eqn = equation(lambda x: lax.convert_element_type(x, np.int8), Arg("b, s"))
    assert formulas.size_of(eqn.invars[0]) == dims.parse("4*b*s")
    assert formulas.size_of(eqn.outvars[0]) == dims.parse("b*s")
