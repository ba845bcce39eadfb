"""The house's rules for imports: one direction, one door to JAX's internals, no giant files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sod2jax"

# A module imports only what stands before it. A package counts as one entry. `__init__` holds the
# public names, so what follows it uses sod2jax as its users do.
FLOW = (
    "errors",
    "_compat",
    "jaxprs",
    "dims",
    "region",
    "options",
    "variables",
    "calls",
    "signature",
    "learn",
    "hooks",
    "numeric",
    "polyfill",
    "decisions",
    "lookups",
    "guards",
    "measured",
    "regimes",
    "program",
    "trace",
    "unify",
    "gated",
    "_operator_classes",
    "classify",
    "rdp",
    "cost",
    "passes",
    "bucket",
    "cut",
    "rewrite",
    "memory",
    "compile",
    "executables",
    "dispatch",
    "staged",
    "stats",
    "pipeline",
    "specialise",
    "ranges",
    "planner",
    "report",
    "optimize",
    "ragged",
    "check",
    "artifact",
    "numpy",
    "__init__",
    "serve",
    "bench",
)
MAX_LINES = 400

FILES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in PACKAGE.rglob("*.py")]


def entry(path: Path) -> str:
    """The entry of FLOW that a file below the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module of `package` imports, one for each name of a `from` import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = (base if node.level else []) + (node.module.split(".") if node.module else [])
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def attributes(source: str) -> Iterator[str]:
    """Dotted names read as attributes of an imported module, import aliases resolved."""
    tree = ast.parse(source)
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        names, value = [], node
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        if names and isinstance(value, ast.Name) and value.id in bound:
            yield ".".join([bound[value.id], *reversed(names)])


def is_internal(name: str) -> bool:
    """Whether a dotted name lies in JAX's internals."""
    parts = name.split(".")
    private = any(part.startswith("_") and not part.endswith("__") for part in parts)
    return parts[0] in ("jax", "jaxlib") and (private or parts[:3] == ["jax", "extend", "core"])


def backward_imports(source: str, package: str, own: str) -> list[str]:
    """Imports from sod2jax that do not stand before the entry `own`."""
    wrong = []
    for name in imported(source, package):
        parts = name.split(".")
        if parts[0] != "sod2jax":
            continue
        target = parts[1] if len(parts) > 1 and parts[1] in FLOW else "__init__"
        if target != own and FLOW.index(target) >= FLOW.index(own):
            wrong.append(name)
    return wrong


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("path", FILES)
def test_imports_only_what_stands_before(path: Path) -> None:
    own = entry(path)
    assert own in FLOW, f"give sod2jax/{own} its place in FLOW, in {Path(__file__).name}"
    wrong = backward_imports(path.read_text(), package_of(path), own)
    assert not wrong, f"{own} stands before {wrong} in FLOW"


@pytest.mark.parametrize("path", FILES)
def test_only_compat_reaches_into_jax(path: Path) -> None:
    if entry(path) == "_compat":
        return
    source = path.read_text()
    names = {*imported(source, package_of(path)), *attributes(source)}
    internal = sorted(filter(is_internal, names))
    assert not internal, f"reach {internal} through sod2jax/_compat"


@pytest.mark.parametrize("path", FILES)
def test_package_does_not_import_what_is_not_shipped(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path.read_text(), package_of(path))}
    assert not tops & {"models", "bench", "tests"}


@pytest.mark.parametrize("path", FILES)
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: split it by subject"


def test_models_do_not_import_the_package() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path.read_text(), package_of(path))}
        assert "sod2jax" not in tops, path.name


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from sod2jax import errors", []),
        ("from sod2jax.dims import Dim", []),
        ("from ..dims import Dim", []),
        ("from .engine import run", []),
        ("from ..rewrite import engine", ["sod2jax.rewrite.engine"]),
        ("from .. import compile", ["sod2jax.compile"]),
        ("import sod2jax.dispatch as d", ["sod2jax.dispatch"]),
        ("import sod2jax", ["sod2jax"]),
        ("def f():\n    from sod2jax.bench import cli", ["sod2jax.bench.cli"]),
    ],
)
def test_backward_imports_are_found(source: str, wrong: list[str]) -> None:
    assert backward_imports(source, "sod2jax.rdp", "rdp") == wrong


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import jax\nprint(jax.__version__, jax.export.symbolic_shape)", False),
        ("from jax.extend import backend", False),
        ("from jax._src import core", True),
        ("from jax import _src", True),
        ("import jax.extend.core as jex", True),
        ("from jax.extend import core", True),
        ("import jax\njax._src.core.Jaxpr", True),
        ("import jax.extend as jex\njex.core.Primitive", True),
        ("from jaxlib import _jax", True),
    ],
)
def test_internals_are_found(source: str, found: bool) -> None:
    names = {*imported(source, "sod2jax"), *attributes(source)}
    assert any(map(is_internal, names)) == found
