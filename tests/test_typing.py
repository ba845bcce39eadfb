"""What type checkers know of optimized functions: the signatures that they had before."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sod2jax
from sod2jax.options import Keywords

ROOT = Path(__file__).resolve().parent.parent

USER_FILE = """
from typing import Any, assert_type

import jax
import sod2jax


@sod2jax.optimize
def bare(x: jax.Array, *, scale: float = 1.0) -> jax.Array:
    return x * scale


@sod2jax.optimize(shapes=(None, "n"), constraints=("n <= 64",), static_argnames="power")
def told(w: jax.Array, x: jax.Array, power: int) -> tuple[jax.Array, int]:
    return w * x**power, power


@sod2jax.optimize()
def empty(x: jax.Array) -> jax.Array:
    return x


class Model:
    @sod2jax.optimize(static_argnums=0)
    def apply(self, x: jax.Array, deep: bool) -> jax.Array:
        return x


def plain(x: jax.Array) -> float:
    return 1.0


def right(x: jax.Array, model: Model) -> None:
    assert_type(bare(x), jax.Array)
    assert_type(bare(x, scale=2.0), jax.Array)
    assert_type(told(x, x, 3), tuple[jax.Array, int])
    assert_type(told(x, x=x, power=3)[1], int)
    assert_type(empty(x), jax.Array)
    assert_type(model.apply(x, True), jax.Array)
    assert_type(Model.apply(model, x, deep=False), jax.Array)
    assert_type(sod2jax.optimize(plain)(x), float)
    assert_type(sod2jax.optimize(plain, buckets=None).compile(x)(x), float)
    assert_type(bare.stats().compiles, int)
    jax.grad(bare)(x)
    sod2jax.optimize(jax.jit(plain))(x)
    unknown: Any = plain
    sod2jax.optimize(unknown).stats()
    sod2jax.optimize(shapes=("n",))(unknown).stats()


def wrong(x: jax.Array, model: Model) -> None:
    bare()  # wrong
    bare(x, 2.0)  # wrong
    bare(x, scale="much")  # wrong
    bare(x, size=3)  # wrong
    told(x, 3)  # wrong
    told(x, x, "3")  # wrong
    told(x, x, 3).sum()  # wrong
    empty(x, x)  # wrong
    model.apply(x)  # wrong
    model.apply(x, True, x)  # wrong
    sod2jax.optimize(plain)("x")  # wrong
    sod2jax.optimize(3)  # wrong
    sod2jax.optimize(plain, bucket={"n": (8,)})  # wrong
    sod2jax.optimize(plain, max_executables="8")  # wrong
    bare.statistics()  # wrong
"""


def test_a_user_s_calls_are_checked(tmp_path: Path):
    pytest.importorskip("pyright", reason="pyright comes with `make lint`")
    user = tmp_path / "user.py"
    user.write_text(USER_FILE)
    config = {"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = json.loads(ran.stdout)["generalDiagnostics"]
    lines = USER_FILE.splitlines()
    seen = {one["range"]["start"]["line"]: one["message"] for one in told}
    assert set(seen) == {k for k, line in enumerate(lines) if line.endswith("# wrong")}, seen


def test_the_types_of_keywords_are_those_of_the_function():
    parameters = inspect.signature(sod2jax.optimize).parameters.values()
    keywords = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    written = {name: of.__forward_arg__ for name, of in Keywords.__annotations__.items()}
    assert keywords == written


def test_the_package_says_that_it_is_typed():
    assert (Path(sod2jax.__file__).parent / "py.typed").exists()
