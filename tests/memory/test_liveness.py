"""Live ranges of small programs, worked out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sod2jax.memory import Buffer, live_ranges

M = 64
X = jax.ShapeDtypeStruct((M, M), jnp.float32)
BYTES = M * M * 4


def buffers_of(fun, *args) -> tuple[Buffer, ...]:
    return live_ranges(jax.make_jaxpr(fun)(*args))


def of_kind(kind: str, fun, *args) -> list[Buffer]:
    return [b for b in buffers_of(fun, *args) if b.kind == kind]


def temps(fun, *args) -> dict[str, tuple[int, int, int]]:
    """name -> (size, first, last) of the temporaries of at least half an array."""
    buffers = of_kind("temp", fun, *args)
    return {b.name: (b.size, b.first, b.last) for b in buffers if b.size >= BYTES // 2}


def test_a_chain_of_contractions_keeps_two_links_alive():
    buffers = buffers_of(lambda x, w: x @ w @ w @ w, X, X)
    assert buffers == (
        Buffer("arg0", BYTES, 0, 2, "argument"),
        Buffer("arg1", BYTES, 0, 2, "argument"),
        Buffer("dot_general.0", BYTES, 0, 1, "temp"),
        Buffer("dot_general.1", BYTES, 1, 2, "temp"),
        Buffer("out0", BYTES, 2, 2, "output"),
    )


def test_what_is_not_written_has_no_buffer():
    assert temps(lambda x: jnp.exp(-(x * 2 + 1)) * x, X) == {}


def test_a_value_lives_until_the_last_kernel_that_recomputes_from_it():
    def two_kernels(x, w):
        y = jnp.tanh(x)
        return y.sum(0), (y + w).max(1)

    assert temps(two_kernels, X, X) == {"tanh.0": (BYTES, 0, 3)}


def test_reshapes_are_the_same_buffer():
    def fun(x, w):
        return (x @ w).reshape(2, M // 2, M).reshape(M, M) @ w

    assert temps(fun, X, X) == {"dot_general.0": (BYTES, 0, 3)}


def test_softmax_works_in_the_output_and_holds_only_row_sums():
    buffers = of_kind("temp", lambda x: jax.nn.softmax(x, axis=-1), X)
    assert [b.size for b in buffers] == [4 * M, 4 * M]  # maximum and sum of each row
    (out,) = of_kind("output", lambda x: jax.nn.softmax(x, axis=-1), X)
    assert out.first < out.last  # the exponentials are there before the quotients


def test_a_residual_block_updates_in_place():
    # x @ w and tanh share one buffer; the second product becomes the output.
    assert temps(lambda x, w: x + jnp.tanh(x @ w) @ w, X, X) == {"dot_general.0": (BYTES, 0, 2)}


def test_a_value_that_is_read_later_is_not_overwritten():
    buffers = temps(lambda x, w: (lambda y: jnp.tanh(y) @ w @ y)(x @ w), X, X)
    assert buffers == {
        "dot_general.0": (BYTES, 0, 3),
        "tanh.1": (BYTES, 1, 2),
        "dot_general.2": (BYTES, 2, 3),
    }


def test_an_operand_that_is_also_read_elsewhere_in_the_kernel_is_not_overwritten():
    buffers = temps(lambda x, w: (lambda y: (y + y[::-1]) @ w)(x @ w), X, X)
    assert len(buffers) == 2


def test_a_scan_needs_one_iteration_beside_its_carry():
    def fun(c, xs, w):
        def body(c, x):
            h = jnp.tanh(c @ w) + x
            return h, h * 2

        return jax.lax.scan(body, c, xs)

    stacked = jax.ShapeDtypeStruct((8, M, M), jnp.float32)
    # The carry is the caller's output; beside it one product, overwritten to become the next carry.
    assert temps(fun, X, stacked, X) == {"scan.0.workspace": (BYTES, 0, 0)}
    outputs = of_kind("output", fun, X, stacked, X)
    assert [(b.name, b.size) for b in outputs] == [("out0", BYTES), ("out1", 8 * BYTES)]


def test_a_scan_that_passes_its_carry_through_needs_no_second_one():
    def fun(c, w):
        return jax.lax.scan(lambda c, _: (c, (c[0] @ w).sum()), (c,), None, length=4)[1]

    workspace = temps(fun, X, X)["scan.0.workspace"]
    assert BYTES <= workspace[0] <= BYTES + 4  # the product and its sum


def test_a_while_loop_needs_its_body():
    def fun(x, w):
        return jax.lax.while_loop(lambda c: c.sum() < 1, lambda c: jnp.tanh(c @ w) @ w, x)

    assert temps(fun, X, X) == {"while.0.workspace": (BYTES, 0, 0)}


def test_a_cond_needs_its_largest_branch_and_not_their_sum():
    def small(x, w):
        return x @ w

    def large(x, w):
        return x @ w @ w @ w

    def fun(p, x, w):
        return jax.lax.cond(p, large, small, x, w)

    predicate = jax.ShapeDtypeStruct((), jnp.bool_)
    (workspace,) = [b for b in of_kind("temp", fun, predicate, X, X) if "workspace" in b.name]
    assert workspace.size == 2 * BYTES


def test_every_output_has_a_buffer():
    buffers = of_kind("output", lambda x: (x, x + 1, jnp.float32(3), (x + 1).reshape(-1)), X)
    assert sorted(b.size for b in buffers) == [4, BYTES, BYTES, BYTES]


def test_one_value_returned_twice_has_two_buffers():
    buffers = of_kind("output", lambda x: (lambda y: (y, y))(x + 1), X)
    assert [b.size for b in buffers] == [BYTES, BYTES]


def test_unused_arguments_and_dead_equations_need_nothing():
    def fun(x, unused):
        _ = unused @ unused
        return x * 2

    buffers = buffers_of(fun, X, X)
    assert [b.name for b in buffers] == ["arg0", "out0"]


def test_typed_keys_and_empty_arrays():
    key = jax.eval_shape(lambda: jax.random.key(0))
    (argument,) = of_kind("argument", lambda k: jax.random.fold_in(k, 1), key)
    assert argument.size == 8
    assert buffers_of(lambda x: x + 1, jax.ShapeDtypeStruct((0, 4), jnp.float32)) == ()
