"""Groups, and what the tables of all stages made of them say of one primitive."""

from __future__ import annotations

import ast
import collections
import importlib
import pkgutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

import sod2jax
from sod2jax import _compat
from sod2jax.classify.table import GROUPS
from sod2jax.cost import count, formulas
from sod2jax.ir import jaxprs
from sod2jax.ir import vocabulary as v
from sod2jax.memory.roles import ROLES, Role
from sod2jax.rdp.rule import DEFAULT_RULE, LocalRule
from sod2jax.rdp.rule import rules as transfer_rules
from sod2jax.rewrite.engine import rules as rewrite_rules
from sod2jax.rows import needs
from tests.ir.primitives import (
    NEEDS_TENSORFLOW,
    OURS,
    absent_names,
    every_name,
    groups,
    installed,
)

PACKAGE = Path(sod2jax.__file__).parent
BASIC = [names for _, names in GROUPS.values()]
BY_MONOID = {"IDENTITY", "OPERATORS"}  # some monoids are called as primitives


@pytest.fixture(scope="module")
def primitives() -> set[str]:
    """Names of the primitives of the installed JAX."""
    return installed()


def test_the_vocabulary_has_every_primitive_of_the_installed_jax(primitives: set[str]) -> None:
    assert len(primitives) > 280  # the scan has found them
    missing = sorted(primitives - every_name())
    assert not missing, f"give {missing} a group in sod2jax/ir/vocabulary.py"


def test_the_vocabulary_has_only_primitives_that_exist(primitives: set[str]) -> None:
    unknown = every_name() - primitives - NEEDS_TENSORFLOW - OURS
    assert unknown == absent_names(jax.__version_info__)


def test_groups_are_basic_or_unions_of_basic_ones() -> None:
    assert sum(map(len, BASIC)) == len(frozenset().union(*BASIC))
    for name, group in groups().items():
        parts = [basic for basic in BASIC if basic & group]
        assert group == frozenset().union(*parts), name


def tables() -> Iterator[tuple[str, set[str]]]:
    """Place and words of each variable of the package that holds mostly names of primitives."""
    for module in pkgutil.walk_packages(sod2jax.__path__, "sod2jax."):
        if module.name.endswith(("__main__", "tracing.operators", "tracing.arithmetic")):
            continue  # these have tables of functions of Python and NumPy
        for variable, value in vars(importlib.import_module(module.name)).items():
            if not isinstance(value, (dict, frozenset, set, list, tuple)) or variable in BY_MONOID:
                continue
            words = {word for word in value if isinstance(word, str)}
            if words and len(words) == len(value) and 2 * len(words & every_name()) > len(words):
                yield f"{module.name}.{variable}", words


def test_tables_have_only_words_of_the_vocabulary() -> None:
    unknown = {place: words - every_name() for place, words in tables()}
    assert len(unknown) > 50  # the search has found them
    assert {place: words for place, words in unknown.items() if words} == {}


def literals(path: Path) -> Iterator[set[str]]:
    """The words of each string of a file, and the strings of each of its displays."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield set(node.value.split())
        if isinstance(node, (ast.Set, ast.List, ast.Tuple)):
            yield {item.value for item in node.elts if isinstance(item, ast.Constant)}  # type: ignore[misc]


def test_no_group_is_listed_twice() -> None:
    again = {
        (path.stem, min(group))
        for path in PACKAGE.rglob("*.py")
        if path.stem not in ("vocabulary", "operators", "exactness", "arithmetic", "slots")
        for words in literals(path)
        for group in BASIC
        if len(group) > 3 and 2 * len(words & group) > len(group)
    }
    assert again == {
        ("select", min(v.SPECIAL)),  # those that loop until they converge
        ("flat", min(v.LAYOUT)),  # what a `jnp.where` consists of
    }


# Groups of which only some have a rewrite rule, and those that have none.
WITHOUT_REWRITE = {
    "GENERATORS": {"empty2"},  # replaced before a trace ends
    "REINTERPRETATIONS": {"from_edtype", "to_edtype"},  # inner forms of extended dtypes
    "CALLS": {"xla_metadata_call"},  # its mark is on its equation
    "SIZES": {"dimension_size", "shape_assertion"},  # of exported modules
    # Opaque, but for one that can be expanded, and one with a body for each device.
    "WRAPPERS": v.WRAPPERS - {"call_hi_primitive", "shard_map"},
}


def test_the_primitives_of_a_group_are_rewritten_or_none() -> None:
    rewritten = rewrite_rules().keys()
    partly = {
        name: group - rewritten
        for name, group in groups().items()
        if group in BASIC and group & rewritten and group - rewritten
    }
    assert partly == WITHOUT_REWRITE


# Rewritten, and without a transfer rule, as there is nothing to say beyond what JAX infers.
WITHOUT_TRANSFER = frozenset().union(
    v.FACTORISATIONS,  # a lane of a matrix depends on all
    v.SOLVES,
    v.TRANSFORMS,
    v.LINEAR_SOLVES,
    v.DISTRIBUTIONS,  # lanes depend on the whole shape
    v.CALLBACKS,  # refused
    {"reduce", "select_and_scatter"},  # their jaxpr may do anything
    {"empty", "iota_2x32_shape"},  # without operands, nor values worth following
    {"rng_bit_generator", "random_seed", "random_clone"},  # make keys, and bits from the shape
    {"approx_top_k", "ragged_dot_general"},  # rare
    {"call_hi_primitive"},  # what it expands to, only the rewrite sees
    {"shard_map"},  # what a device has is a part of what is outside
    v.LANEWISE_COLLECTIVES,  # within that
    v.MOVING_COLLECTIVES,
)


def test_what_is_rewritten_is_analysed() -> None:
    assert rewrite_rules().keys() - transfer_rules().keys() == WITHOUT_TRANSFER


LANEWISE = sorted(name for name, rule in rewrite_rules().items() if rule is rewrite_rules()["add"])


@pytest.mark.parametrize("name", LANEWISE)
def test_what_is_rewritten_lane_by_lane_is_so_for_every_stage(name: str) -> None:
    rule, add = transfer_rules()[name], transfer_rules()["add"]
    assert isinstance(rule, LocalRule) and isinstance(add, LocalRule) and rule.lanes is add.lanes
    assert needs.KINDS[name] is needs.Kind.ELEMENTWISE
    assert ROLES[name] in (Role.POINTWISE, Role.ALIAS)
    assert formulas.fuses(named(name))


def named(name: str) -> Any:
    """As much of an equation as its primitive's name."""
    return types.SimpleNamespace(primitive=types.SimpleNamespace(name=name))


def test_rows_are_followed_only_where_lanes_are_known() -> None:
    for name in needs.KINDS:
        rule = transfer_rules()[name]
        aligned = isinstance(rule, LocalRule) and rule.lanes is not DEFAULT_RULE.lanes
        assert aligned or needs.KINDS[name] is needs.Kind.CREATES, name


def test_cost_and_memory_agree_on_what_is_fused() -> None:
    fusible = {name for name, role in ROLES.items() if role is not Role.REDUCE}
    fused = {name for name in every_name() if formulas.fuses(named(name))}
    assert fusible - fused == {"pvary", "reshard"}  # names for shards: no step on one device
    assert fused - fusible == {"dim_as_value", "from_edtype", "to_edtype"}  # scalars, or of keys


# What programs say: the harnesses of some families, as JAX traces them.


@pytest.fixture(scope="module")
def equations() -> dict[str, list[Any]]:
    """The equations of many programs, by primitive."""
    by_name = collections.defaultdict(list)
    for family in "assemble control elementwise loop order reduce scatter window".split():
        for harness in importlib.import_module(f"tests.harnesses.{family}").HARNESSES:
            full = harness.full
            args = [jax.ShapeDtypeStruct(arg.shape(full), arg.dtype) for arg in harness.args]
            for eqn in jaxprs.equations(jax.make_jaxpr(harness.fun)(*args)):
                by_name[eqn.primitive.name].append(eqn)
    return by_name


def avals(atoms: Any) -> list[Any]:
    return [(atom.aval.shape, atom.aval.dtype) for atom in atoms]


def test_calls_are_what_runs_one_jaxpr_on_their_operands(equations: dict[str, list[Any]]) -> None:
    like_calls = set()
    for name, eqns in equations.items():
        bodies = [[body for _, body in _compat.sub_jaxprs(eqn)] for eqn in eqns]
        if all(
            len(inner) == 1
            and avals(inner[0].invars) == avals(eqn.invars)
            and avals(inner[0].outvars) == avals(eqn.outvars)
            for eqn, inner in zip(eqns, bodies, strict=True)
        ):
            like_calls.add(name)
    assert len(like_calls) > 6
    assert like_calls == v.CALLS & equations.keys()


def test_reducers_are_what_has_a_jaxpr_of_scalars(equations: dict[str, list[Any]]) -> None:
    others = v.CALLS | v.CONDITIONALS | v.LOOPS | v.LINEAR_SOLVES | v.ROWS
    reducers = {
        name
        for name, eqns in equations.items()
        if name not in others and any(True for eqn in eqns for _ in _compat.sub_jaxprs(eqn))
    }
    assert len(reducers) > 3 and reducers <= count.REDUCERS
    for name in reducers:
        bodies = [body for eqn in equations[name] for _, body in _compat.sub_jaxprs(eqn)]
        assert all(not var.aval.shape for body in bodies for var in body.invars), name


def test_elementwise_results_have_the_shape_of_their_operands(
    equations: dict[str, list[Any]],
) -> None:
    lanewise = (v.ELEMENTWISE | v.CASTS | v.COPIES) & equations.keys()
    assert len(lanewise) > 30
    for name in lanewise:
        for eqn in equations[name]:
            shape = eqn.outvars[0].aval.shape
            for atom in eqn.invars:
                given = atom.aval.shape
                pairs = zip(given, shape, strict=True) if given else ()
                assert all(size in (1, wanted) for size, wanted in pairs), name


def test_results_of_identities_are_their_operands(equations: dict[str, list[Any]]) -> None:
    identities = v.IDENTITIES & equations.keys()
    assert len(identities) > 3
    for name in identities:
        for eqn in equations[name]:
            assert avals(eqn.outvars) == avals(eqn.invars), name
