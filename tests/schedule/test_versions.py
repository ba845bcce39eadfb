"""Which versions a program has."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax.schedule import Version, versions
from sod2jax.schedule.compiler_options import compiler_options
from sod2jax.target import Target

CPU = Target("cpu")


def test_a_program_without_forms_is_plain_first() -> None:
    jaxpr = jax.make_jaxpr(lambda x: x + 1)(np.ones(3))
    first, *others = versions(Version("plain", jaxpr), CPU)
    assert first.name == "plain" and first.jaxpr is jaxpr and not first.options
    assert [v.name for v in others] == [
        "plain, ordered for memory",
        "plain, copies by region",
        "plain, ordered for memory and copies by region",
    ]
    assert all(v.jaxpr is jaxpr for v in others)


def test_forms_come_first_and_the_plain_program_last() -> None:
    jaxpr = jax.make_jaxpr(lambda x: jnp.argmax(x, -1))(np.ones((100, 100), np.float32))
    found = tuple(versions(Version("plain", jaxpr), CPU))
    assert found[0].name == "forms" and found[0].remarks
    assert found[-1].name == "plain" and found[-1].jaxpr is jaxpr and not found[-1].remarks


def test_options_that_a_compiler_does_not_know_are_left_out(monkeypatch) -> None:
    from sod2jax.schedule import compiler_options as module

    assert list(compiler_options("cpu")) == ["ordered for memory", "copies by region"]
    monkeypatch.setitem(module._OPTIONS, "cpu", {"new": {"xla_cpu_no_such_option": True}})
    assert compiler_options("cpu") == {}
    assert compiler_options("tpu") == {}
