"""Functions that ask Python's own ``type`` for ``int`` are told that sizes are such."""

from __future__ import annotations

import numbers

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax


def whole(n):
    if type(n) is not int:
        raise ValueError("not an int")
    return n


def asking(x):
    return jnp.pad(x, (0, whole(x.shape[0]))) * whole(2)


def classes(x):
    """What else ``type`` is."""

    class Meta(type):
        pass

    class Made(metaclass=Meta):
        pass

    assert type(Made) is Meta
    assert isinstance(Made, type)
    assert issubclass(Meta, type)
    assert not isinstance(3, type)
    assert type("Other", (Made,), {})().__class__.__name__ == "Other"
    assert type[int] == __builtins__["type"][int]
    return asking(x)


def helped(x):
    return jax.vmap(lambda row: row * whole(x.shape[1]))(x)


def compared(fun, *shapes):
    optimized = sod2jax.optimize(fun, on_unsupported="error")
    for shape in shapes:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(optimized.run((x,), {}, True, foreign=True), jax.jit(fun)(x))
    assert "trust: proved" in optimized.explain()
    return optimized.stats()


def test_sizes_are_ints():
    assert compared(asking, (5,), (1,), (7,), (16,)).traces == 2
    compared(helped, (2, 3), (5, 3), (4, 7))


def test_type_stays_what_it_is_besides():
    compared(classes, (5,), (1,), (7,))
    assert "type" not in globals()


INTEGERS = (int, np.integer)


def helper(n):
    return 2 if type(n) in INTEGERS else 3


class Layer:
    scale = 2

    def __call__(self, x):
        return x * self.scale * (5 if type(x.shape[0]) == int else 7)  # noqa: E721


def named(n):
    return 2 if type(n).__name__ == "int" else 3


NO_ERRORS = {
    "is": lambda x: x * (2 if type(x.shape[0]) is int else 3),
    "subclass": lambda x: x * (2 if issubclass(type(x.shape[0]), int) else 3),
    "number": lambda x: x * (2 if issubclass(type(x.shape[0]), numbers.Integral) else 3),
    "one_of": lambda x: x * (2 if type(x.shape[0]) in (int, float) else 3),
    "helper": lambda x: x * helper(x.shape[0]),
    "method": Layer(),
    "closed_over": (lambda layer: lambda x: layer(x))(Layer()),
    "jitted": jax.jit(lambda x: x * (2 if type(x.shape[0]) is int else 3)),
    "name": lambda x: x * named(x.shape[0]),
    "table": lambda x: x * {int: 2.0, float: 3.0}[type(x.shape[0])],
    "mapped": lambda x: x * (2 if set(map(type, x.shape)) == {int} else 3),
    "float": lambda x: x * (2 if type(x.shape[0] * 0.5) is float else 3),
    "numpy": lambda x: x * (2 if issubclass(type(np.prod(x.shape)), int) else 3),
    "array": lambda x: x * (2 if type(np.zeros(x.shape[0])) not in (np.ndarray, int) else 3),
    "of_a_class": lambda x: x * (2 if type(int) is type else 3),
}


@pytest.mark.parametrize("name", NO_ERRORS)
def test_types_are_answered_where_no_error_tells(name):
    fun = NO_ERRORS[name]
    f = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error", audit=False)
    for size in (5, 1, 7):
        x = np.arange(1.0, size + 1, dtype=np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
    assert "trust: proved" in f.explain()
    assert "type" not in globals()


def test_another_error_stays():
    def fails(x):
        raise ValueError(f"no more than that: {type(x) is int}")

    optimized = sod2jax.optimize(fails, shapes=("n",))
    with pytest.raises(ValueError, match="no more than that"):
        optimized(np.ones(3, np.float32))
    assert optimized.stats().traces <= 3
