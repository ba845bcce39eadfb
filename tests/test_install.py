"""What it takes to install: the wheel, what the core imports, and what it needs of JAX."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from sod2jax import _compat
from sod2jax._compat import needed

ROOT = Path(__file__).resolve().parent.parent

CORE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "flax":
            raise ImportError("flax is blocked")

sys.meta_path.insert(0, Blocked())

import jax
import jax.numpy as jnp
import numpy as np
import sod2jax

def loss(w, x):
    return jnp.sin(x @ w).sum()

step = sod2jax.optimize(jax.value_and_grad(loss), shapes=(None, "n, 4"), buckets={"n": (8,)})
bare, eager = sod2jax.optimize(loss), sod2jax.optimize(loss, shapes=(None, "n, 4"))
w = np.ones((4, 4), np.float32)
for n in (1, 5, 8):
    x = np.ones((n, 4), np.float32)
    value, grad = jax.value_and_grad(loss)(w, x)
    for seen in (step(w, x), (bare(w, x), jax.grad(eager)(w, x))):
        np.testing.assert_allclose(seen[0], value, rtol=1e-5)
        np.testing.assert_allclose(seen[1], grad, rtol=1e-5)
rows = sod2jax.ragged_vmap(lambda x: x.sum())([np.ones(3), np.ones(5)])
np.testing.assert_allclose(rows, [3, 5])
assert sod2jax.check(loss, w, x, shapes=(None, "n, 4"), samples=2)
step.compile(w, x).explain()
assert "flax" not in sys.modules
"""


def test_all_but_modules_works_without_flax(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", CORE], check=True, env=environment, cwd=tmp_path)


def _asked_for() -> dict[str, set[str]]:
    """The names of JAX's own modules that ``_compat`` uses wherever it runs."""
    asked: dict[str, set[str]] = {}
    for path in Path(_compat.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        modules: dict[str, str] = {}
        for node in ast.walk(tree):
            private = isinstance(node, ast.ImportFrom) and node.module is not None
            if not private or not node.module.startswith(("jax._src", "jax.extend")):
                continue
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                try:
                    importlib.import_module(inner)
                    modules[alias.asname or alias.name] = inner
                except ModuleNotFoundError:
                    asked.setdefault(node.module, set()).add(alias.name)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if node.value.id in modules and not node.attr.startswith("__"):
                asked.setdefault(modules[node.value.id], set()).add(node.attr)
    for kind, (module, name) in _compat.WANT_NUMBERS.items():
        if kind != "searchsorted":  # has different names in different versions
            asked.setdefault(module.__name__, set()).add(name)
    return asked


def test_all_that_is_read_of_jax_is_checked_at_import():
    assert {m: set(names.split()) for m, names in needed.NEEDED.items()} == _asked_for()


def test_what_is_missing_is_said_with_the_versions_that_have_it():
    lacking = {"jax._src.core": "Tracer no_such_name", "jax._src.no_such_module": "some"}
    with pytest.raises(ImportError) as raised:
        needed.check(lacking)
    for part in ("jax._src.core.no_such_name, jax._src.no_such_module.some", "0.10 to 0.12"):
        assert part in str(raised.value)
    assert "Tracer" not in str(raised.value)


def test_an_import_beside_another_jax_says_so(tmp_path: Path):
    code = "from jax._src.interpreters import ad; del ad.LinearizeTrace; import sod2jax"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert "ad.LinearizeTrace, which sod2jax reads. It works with jax 0.10 to 0.12" in ran.stderr


def test_no_dependency_excludes_a_version_that_was_not_seen_to_fail():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [d for d in project["dependencies"] if any(op in d for op in ("<", "==", "~", "!"))]


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(tmp_path: Path):
    """Without the repository: installed with the bench's extra, run from an empty folder."""
    quiet = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    wheels, folder = tmp_path / "wheels", tmp_path / "empty"
    folder.mkdir()
    build = [sys.executable, *quiet, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("*.whl")
    assert "sod2jax/py.typed" in zipfile.ZipFile(wheel).namelist()
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, *quiet, "install", f"{wheel}[bench]"], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    environment["JAX_PLATFORMS"] = "cpu"
    ran = subprocess.run(
        [python, "-m", "sod2jax.bench", "--quick"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "sod2jax against jit-exact" in ran.stdout
    where = [python, "-c", "import sod2jax; print(sod2jax.__file__)"]
    installed = subprocess.run(where, cwd=folder, env=environment, capture_output=True, text=True)
    assert str(tmp_path / "venv") in installed.stdout
