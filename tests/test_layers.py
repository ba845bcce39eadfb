"""The house's rules for imports: one direction, one door to JAX's internals, no giant files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sod2jax"

# A module imports only what stands before it: in its own package, and, for what lies elsewhere, in
# the package that holds both. Modules of one line may come in any order. `__init__` stands last
# where it gathers its package, and has nothing to import where it stands first. That of sod2jax
# holds the public names, so what follows it uses sod2jax as its users do.
ORDER = {
    "": """errors _compat ir places transfer options target arguments tracing classify rdp cost
        buckets rows passes rewrite memory schedule stats runtime pipeline planning report stages
        derived optimized optimize ragged check artifact numpy __init__ serve bench""",
    "_compat": """needed arrays devices dims jaxprs typed callbacks primitives foreign scopes traces
        askers trees wants callee jitted __init__""",
    "ir": """__init__ vocabulary dims intervals polynomials simplex proofs comparisons enclosures
        region closures jaxprs surgery silence foreign primitives trees program""",
    "arguments": "__init__ calls annotations nnx graphs kept passage signature learn",
    "tracing": """__init__ frames callers hooks caps decisions recorder escaped overflow bound
        host_numbers host domains host_values size_arrays operators exactness numeric
        arithmetic ufuncs shown holding observations other_numbers polyfill threads guards reach
        left handlers slots type_calls swallowed data_dependent regimes advice concrete
        trace generalise audit""",
    "tracing/audit": "moves folding at_sizes loops numbering canonical __init__",
    "tracing/generalise": "form fit rebuild host_sizes samples splits varying __init__",
    "classify": "table classes __init__",
    "rdp": "lattice values arithmetic lanes facts rule engine rules __init__",
    "rdp/rules": """elementwise numpy_calls contract gated_rows layout assemble control index random
        reduce order window __init__""",
    "cost": "cost formulas trips count __init__",
    "buckets": "__init__ bucket ladders choose",
    "rows": "__init__ reads merged needs narrow loop",
    "passes": "remark collectives bases branches gates growth cut __init__",
    "passes/bases": "values zeros flow __init__",
    "passes/branches": """__init__ conds decide deciding_sizes value_numbering merge sink early
        select collapse""",
    "passes/gates": "__init__ predicates groups work slices flat compact",
    "rewrite": """padded fills monoids sizes poison masks placement births restride moves context
        engine lanes rules __init__""",
    "rewrite/lanes": "__init__ layouts contraction along sliding indices blocks bitstreams chirp",
    "rewrite/rules": """elementwise layout assemble contract reduce cumulative window order
        selection convolution fourier index scatter linalg solve random control callbacks mesh
        branch loop gated_rows __init__""",
    "memory": "roles steps flatten fusion liveness arena drawing plan __init__",
    "schedule": "axes channels_last masked edges forms chunks compiler_options versions __init__",
    "schedule/chunks": "splits flat rules islands labels saving loops tails blocks emit __init__",
    "schedule/forms": """form arg_reduction contraction convolution outer_sum pooling
        operand_order __init__""",
    "runtime": "__init__ choices versions static compile executables plan dispatch parts",
    "planning": """__init__ exact kinds out_of_range placement rounds results trust specialise
        requests found foreseen search choices planner ahead""",
    "derived": "__init__ functions derivations",
    "ragged": """arrays true_sizes batch batched derivative plans programs over_rows stacked
        function __init__""",
    "numpy": "_base _select _unique _sets _grow _boxes __init__",
    "bench": """__init__ rows child suite images builtin methods measure plot worker settings runner
        table markdown cli gates programs first_call
        plan_programs plan_classes plan_models plan_runs plan_rss plan_plot plans __main__""",
}
# In these, modules stand beside each other: none imports another, and only `__init__` has all.
SIBLINGS = ("rewrite/rules",)
PLANNED = {"artifact", "serve"}
MAX_LINES = 350

FILES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in PACKAGE.rglob("*.py")]


def entry(path: Path) -> str:
    """The entry of the package's own order that a file below it belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_name(path: Path) -> tuple[str, ...]:
    """A file's place below the package: ("rdp", "rules", "index"), ("ir", "__init__"), ..."""
    return path.relative_to(PACKAGE).with_suffix("").parts


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


def target_of(parts: Sequence[str]) -> tuple[str, ...]:
    """The module that an imported name below sod2jax comes from."""
    for count in range(len(parts), -1, -1):
        path = PACKAGE.joinpath(*parts[:count])
        if path.with_suffix(".py").is_file() and count:
            return tuple(parts[:count])
        if (path / "__init__.py").is_file():
            return (*parts[:count], "__init__")
    raise AssertionError(parts)


def is_backward(own: Sequence[str], target: Sequence[str]) -> bool:
    """Whether a module stands before or beside one that it imports, where their paths part."""
    at = next(k for k, (a, b) in enumerate(zip(own, target, strict=False)) if a != b)
    order = ORDER["/".join(own[:at])].split()
    return order.index(target[at]) >= order.index(own[at])


def backward_imports(source: str, package: str, own: Sequence[str]) -> list[str]:
    """Imports from sod2jax that do not stand before the module `own`."""
    wrong = []
    for name in imported(source, package):
        top, *parts = name.split(".")
        if top != "sod2jax":
            continue
        target = target_of(parts)
        if target != tuple(own) and is_backward(own, target):
            wrong.append(name)
    return wrong


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("path", FILES)
def test_imports_only_what_stands_before(path: Path) -> None:
    own = own_name(path)
    for at in range(len(own)):
        order = ORDER.get("/".join(own[:at]), "").split()
        assert own[at] in order, f"give {'/'.join(own[: at + 1])} its place in ORDER"
    wrong = backward_imports(path.read_text(), package_of(path), own)
    assert not wrong, f"{'.'.join(own)} stands before {wrong} in ORDER"


def test_order_names_what_there_is() -> None:
    for package, names in ORDER.items():
        there = {path.stem for path in (PACKAGE / package).glob("*.py")}
        there |= {path.parent.name for path in (PACKAGE / package).glob("*/__init__.py")}
        listed = names.split()
        assert len(listed) == len(set(listed)), package
        assert there == set(listed) - (set() if package else PLANNED), package


@pytest.mark.parametrize("package", SIBLINGS)
def test_siblings_do_not_import_each_other(package: str) -> None:
    root = "sod2jax." + package.replace("/", ".")
    for path in (PACKAGE / package).glob("*.py"):
        if path.stem != "__init__":
            names = imported(path.read_text(), root)
            wrong = [name for name in names if name.startswith(f"{root}.")]
            assert not wrong, f"{path.stem} imports {wrong}: what rules share belongs before them"


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
        ("from sod2jax.ir.dims import Dim", []),
        ("from ..ir.dims import Dim", []),
        ("from .rule import rule_of", []),
        ("from .rules import index", ["sod2jax.rdp.rules.index"]),
        ("from sod2jax.rdp import rules", ["sod2jax.rdp.rules"]),
        ("from sod2jax.rdp import Facts", ["sod2jax.rdp.Facts"]),
        ("from ..rewrite import engine", ["sod2jax.rewrite.engine"]),
        ("from .. import runtime", ["sod2jax.runtime"]),
        ("import sod2jax.runtime.dispatch as d", ["sod2jax.runtime.dispatch"]),
        ("import sod2jax", ["sod2jax"]),
        ("def f():\n    from sod2jax.bench import cli", ["sod2jax.bench.cli"]),
    ],
)
def test_backward_imports_are_seen(source: str, wrong: list[str]) -> None:
    assert backward_imports(source, "sod2jax.rdp", ("rdp", "engine")) == wrong


@pytest.mark.parametrize(
    ("source", "internal"),
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
def test_internals_are_seen(source: str, internal: bool) -> None:
    names = {*imported(source, "sod2jax"), *attributes(source)}
    assert any(map(is_internal, names)) == internal
