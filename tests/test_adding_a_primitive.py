"""CONTRIBUTING's steps for a new primitive, followed in a copy of the package, are enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text().split("\n## ")

# Two primitives that no JAX has: one that works lane by lane, one along an axis.
PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

import sod2jax

def primitive(name, meaning):
    p = Primitive(name)
    p.def_abstract_eval(lambda x, **params: x)
    p.def_impl(meaning)
    mlir.register_lowering(p, mlir.lower_fun(meaning, multiple_results=False))
    setattr(lax, name + "_p", p)  # as a JAX that has it
    return p

softsign_p = primitive("softsign", lambda x: x / (1 + jnp.abs(x)))
batching.defvectorized(softsign_p)
cumenergy_p = primitive(
    "cumenergy", lambda x, axis, reverse: lax.cumsum(x * x, axis=axis, reverse=reverse)
)

def softsigns(x):
    return softsign_p.bind(x).sum(1)

def energies(x):
    both = [cumenergy_p.bind(x, axis=1, reverse=reverse) for reverse in (False, True)]
    merged = cumenergy_p.bind(x.reshape(-1), axis=0, reverse=False)
    return *both, merged

def gated(gates, x, w):
    def layer(row):
        return softsign_p.bind(row @ w)
    return jax.vmap(lambda gate, row: lax.cond(gate, layer, lambda row: row, row))(gates, x)

rng = np.random.default_rng(0)

def check(fun, spec, *args, **buckets):
    optimized = sod2jax.optimize(
        fun, shapes=spec, buckets=buckets, on_unsupported="error", poison=True
    )
    for a, b in zip(jax.tree.leaves(optimized(*args)), jax.tree.leaves(jax.jit(fun)(*args)),
                    strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    return optimized

x = rng.normal(size=(5, 7)).astype(np.float32)
check(softsigns, ("b, s",), x, b=(6,), s=(8,))
check(energies, ("b, s",), x, b=(6,), s=(8,))
wide = rng.normal(size=(5, 256)).astype(np.float32)
weights = rng.normal(size=(256, 256)).astype(np.float32) / 16
on = rng.random(5) < 0.5
report = check(gated, ("b", "b, 256", None), on, wide, weights, b=(6,)).explain()
assert "compacted a select" in report, report
"""


def snippet(start: str) -> str:
    """The block of code in the guide that starts with some words."""
    (section,) = [text for text in GUIDE if text.startswith("How to add a rule for a primitive")]
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", section, re.S) if start in b]
    return "\n".join(line.removeprefix("   ") for line in block.splitlines())


def add(path: Path, after: str, text: str) -> None:
    source = path.read_text()
    assert source.count(after) == 1
    path.write_text(source.replace(after, after + text))


def test_the_steps_of_the_guide_are_enough(tmp_path: Path) -> None:
    package = tmp_path / "sod2jax"
    shutil.copytree(ROOT / "sod2jax", package)
    vocabulary = package / "ir" / "vocabulary.py"
    add(vocabulary, '\nARITHMETIC = _names("""', " softsign")
    add(vocabulary, '\nCUMULATIVE = _names("', "cumenergy ")
    rule = snippet('@register_pad_rule("cumsum")').replace("cumsum", "cumenergy")
    family = package / "rewrite" / "rules" / "cumulative.py"
    family.write_text(f"{family.read_text()}\n\n{rule}\n")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
