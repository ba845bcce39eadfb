"""What depends on sizes only has the values that JAX gives it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax.tracing.audit import folding

F = np.array([[0.25, 2.0, 3.5], [1.0, 0.5, 7.0]], np.float32)
K = np.array([[7, -7, 3], [2, 9, -4]], np.int32)
B = np.array([[True, False, True], [False, False, True]])

CASES = {
    **{name: (getattr(lax, name), (F,)) for name in "ceil cos exp floor log rsqrt sqrt".split()},
    **{name: (getattr(lax, name), (F, F[::-1])) for name in "add div max min mul pow sub".split()},
    **{f"int_{name}": (getattr(lax, name), (K, K[::-1])) for name in "add div mul rem sub".split()},
    **{name: (getattr(lax, name), (K, K[::-1])) for name in "eq ge gt le lt ne".split()},
    "and": (lax.bitwise_and, (K, K[::-1])),
    "not": (lax.bitwise_not, (B,)),
    "sign": (lax.sign, (K,)),
    "integer_pow": (lambda x: lax.integer_pow(x, 3), (K,)),
    "inverse": (lambda x: lax.integer_pow(x, -2), (F,)),
    "iota": (lambda: lax.broadcasted_iota(np.int32, (2, 3), 1), ()),
    "select": (lax.select_n, (B, F, -F)),
    "clamp": (lax.clamp, (np.float32(0.5), F, np.float32(3))),
    "concatenate": (lambda x, y: lax.concatenate([x, y], 1), (K, K)),
    "convert": (lambda x: lax.convert_element_type(x, np.int8), (F,)),
    "broadcast": (lambda x: lax.broadcast_in_dim(x, (2, 3, 2), (0, 1)), (K,)),
    "transpose": (lambda x: lax.transpose(x, (1, 0)), (K,)),
}


@pytest.mark.parametrize(("fun", "args"), CASES.values(), ids=CASES)
def test_as_jax(fun, args):
    eqn = jax.make_jaxpr(fun)(*args).eqns[-1]
    want = np.asarray(fun(*args))
    result = folding.evaluated(eqn.primitive.name, eqn.params, args, want.shape, want.dtype)
    assert result is not None
    assert (result.shape, result.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(result, want, rtol=1e-6)


def test_others_are_left_out():
    x = jnp.ones((2, 2))
    assert folding.evaluated("dot_general", {}, (x, x), (2, 2), np.float32) is None
