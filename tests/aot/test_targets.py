"""Programs for devices that are not there: compiled, read, and never run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import TargetError
from sod2jax.target import Target, topology

CARDS = ("h100", "h200", "a100", "l4")
DEVICES = [
    *(pytest.param(name, marks=pytest.mark.cuda_aot) for name in CARDS),
    pytest.param("tpu-v5e", marks=pytest.mark.tpu_aot),
]
SPEC = jax.ShapeDtypeStruct((8, 16), np.float32)


def gram(x):
    return jnp.tanh(x @ x.T).sum(0)


def compiled(name: str, **options):
    f = sod2jax.optimize(gram, shapes=("n, 16",), buckets={"n": (8, 64)}, **options)
    return f.compile(SPEC, target=topology(name))


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_compiled_is_for_the_target(name: str) -> None:
    f = compiled(name)
    target = Target.of(topology(name))
    for executable in f.planner.specialisations[0].ready:
        text = executable.call.as_text()
        assert ("operation_queue_id" in text) == (target.platform == "gpu")
        assert ("S(5)" in text or "T(8,128)" in text) == (target.platform == "tpu")
        assert executable.target == target
    plan = f.memory_plan(64)
    assert plan.target == target and plan.target.alignment == 256
    assert f"for {target.kind}, which is not there" in f.explain()


@pytest.mark.parametrize("name", DEVICES)
def test_a_call_names_the_target(name: str) -> None:
    f = compiled(name)
    with pytest.raises(TargetError, match=r"gram is compiled for .*, which is not there"):
        f(np.ones((3, 16), np.float32))
    x = jnp.ones((3, 16))
    np.testing.assert_allclose(jax.jit(f)(x), gram(x), rtol=1e-6)  # inlined


@pytest.mark.cuda_aot
def test_one_function_is_for_one_device() -> None:
    f = compiled("h100")
    f.compile(SPEC, target=topology("h100"))
    with pytest.raises(TargetError, match=r"has programs for NVIDIA H100.*to compile it for .* L4"):
        f.compile(SPEC, target=topology("l4"))
    here = sod2jax.optimize(gram, shapes=("n, 16",), buckets={"n": (8,)})
    here(np.ones((3, 16), np.float32))
    with pytest.raises(TargetError, match="has programs for cpu"):
        here.compile(SPEC, target=topology("h100"))


@pytest.mark.cuda_aot
def test_versions_are_compared_by_temporaries_alone() -> None:
    executable = compiled("h100", tune="full").planner.specialisations[0].ready[0]
    assert [figures.seconds for figures in executable.figures] == [None]
    assert executable.figures[0].verdict == "chosen"
    assert executable.figures[0].temporaries == executable.call.memory_analysis().temp_size_in_bytes


@pytest.mark.cuda_aot
def test_memory_of_a_card_is_known() -> None:
    assert Target.of(topology("h100")).memory == 84_929_347_584


@pytest.mark.cuda_aot
def test_results_that_settle_an_audit_are_computed_here() -> None:
    def turned(x):
        return x[::-1] if x.shape[0] > 1 else x

    f = sod2jax.optimize(turned, shapes=("n",), buckets={"n": (8,)})
    f.compile(jax.ShapeDtypeStruct((5,), np.float32), target=topology("h100"))
    assert all(e.target.is_absent for s in f.planner.specialisations for e in s.ready)
