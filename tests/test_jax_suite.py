"""JAX's own programs, one for each use of a primitive, over a batch whose size varies.

JAX ships them for its tests of shape polymorphism and backends, in ``jax._src`` only; hence the
import. As there, one dtype stands for each group, and ``jax.vmap`` adds the symbolic axis. One
executable serves every batch size, with poison in the padding.
"""

from __future__ import annotations

import collections
import re
from typing import Any

import jax
import numpy as np
import pytest

from tests.harnesses import Arg, Harness, check

suite = pytest.importorskip("jax._src.internal_test_util.test_harnesses")

# Programs that have no exact padded form: (primitive, programs, why).
REFUSED = (
    (
        "rng_bit_generator",
        r"rng_bit_generator_.*RNG_THREE_FRY",
        "XLA lays the words of this generator out by the whole shape",
    ),
)
# JAX has no batching rule for it.
_NOT_BATCHED = ("tridiagonal_solve",)
_FLOOR = 0.983  # of the programs must run padded
_BUCKET = 8
_EVERY = 61  # programs of which one runs by default; prime, so that no pattern of names is hit
_RTOL = {"float16": 1e-3, "bfloat16": 1e-2}


def programs() -> list[Any]:
    """The suite's programs that have an argument to batch; the commonest dtype of each group."""
    groups: dict[str, list[Any]] = collections.defaultdict(list)
    for program in suite.all_harnesses:
        if program.filter(jax.default_backend(), include_jax_unimpl=False):
            groups[program.group_name].append(program)
    kept = []
    for name, members in groups.items():
        counts = collections.Counter(str(np.dtype(p.dtype)) for p in members)
        dtype = min(counts, key=lambda d: (-counts[d], d))
        chosen = [p for p in members if str(np.dtype(p.dtype)) == dtype]
        kept += chosen if name not in _NOT_BATCHED else []
    return [p for p in kept if _varying(p)]


def _varying(program: Any) -> list[Any]:
    return [a for a in program.arg_descriptors if not isinstance(a, suite.StaticArg)]


def batched(program: Any) -> Harness:
    """A program of the suite under ``vmap``, as a harness of ours."""
    args = tuple(_batched_arg(program, descriptor) for descriptor in _varying(program))
    refused = [name for name, pattern, _ in REFUSED if re.search(pattern, program.fullname)]
    return Harness(
        program.fullname,
        jax.vmap(program.dyn_fun),
        args,
        bucket={"b": _BUCKET},
        rtol=_RTOL.get(str(np.dtype(program.dtype)), 1e-5),
        exact=refused[0] if refused else None,
    )


def _batched_arg(program: Any, descriptor: Any) -> Arg:
    """An argument with an axis for the examples in front; each example is drawn anew."""
    one = _draw(program, descriptor, np.random.default_rng(0))

    def make(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        rows = [_draw(program, descriptor, rng) for _ in range(shape[0])]
        return np.stack(rows).reshape(shape)

    return Arg(", ".join(["b", *map(str, one.shape)]), one.dtype, make)


def _draw(program: Any, descriptor: Any, rng: np.random.Generator) -> np.ndarray:
    if not isinstance(descriptor, (suite.RandArg, suite.CustomArg)):
        return np.asarray(descriptor)
    # The suite draws by the methods of NumPy's older generator.
    legacy = np.random.RandomState(rng.integers(1 << 31))
    if isinstance(descriptor, suite.CustomArg):
        return np.asarray(descriptor.make(legacy))
    return np.asarray(program.rng_factory(legacy)(descriptor.shape, descriptor.dtype))


def _cases() -> list[Any]:
    return [
        pytest.param(program, id=program.fullname, marks=[pytest.mark.slow] if k % _EVERY else [])
        for k, program in enumerate(programs())
    ]


@pytest.mark.parametrize("program", _cases())
def test_equals_jit(program: Any) -> None:
    with jax.numpy_rank_promotion("allow"):
        check(batched(program))


def test_share_of_padded_programs() -> None:
    names = [program.fullname for program in programs()]
    patterns = [pattern for _, pattern, _ in REFUSED]
    refused = [n for n in names if any(re.search(p, n) for p in patterns)]
    assert len(names) > 1000
    assert all(any(re.search(p, n) for n in names) for p in patterns), "a row refuses nothing"
    assert 1 - len(refused) / len(names) >= _FLOOR
