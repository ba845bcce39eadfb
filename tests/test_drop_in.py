"""Each row of docs/drop_in.md holds, and there is a row for all that the three have."""

from __future__ import annotations

import inspect

import equinox as eqx
import jax
import pytest
from flax import nnx

import sod2jax
from tests.drop_in import ROWS, Row
from tests.drop_in_page import MODULES, PAGE, page

CHECKS = list(dict.fromkeys((row.of, row.check) for row in ROWS))


@pytest.mark.parametrize("check", [pytest.param(c, id=f"{of}-{c.__name__}") for of, c in CHECKS])
def test_row(check):
    check()


def names_of(of: str) -> set[str]:
    return {row.name for row in ROWS if row.of == of}


@pytest.mark.parametrize(
    ("of", "made"),
    [("jax.jit", jax.jit), ("nnx.jit", nnx.jit), ("filter_jit", eqx.filter_jit)],
    ids=["jax", "nnx", "filter"],
)
def test_there_is_a_row_for_every_keyword_and_method(of, made):
    keywords = set(inspect.signature(made).parameters) - {"fun", "jitkwargs"}
    public = {name for name in dir(made(abs)) if not name.startswith("_")}
    methods = public - getattr(MODULES[of], "ATTRIBUTES", set())
    assert keywords | {f"{name}()" for name in methods} <= names_of(of)


def test_stages_have_what_those_of_jit_have():
    def public(stage: object) -> set[str]:
        return {name for name in dir(stage) if not name.startswith("_")}

    ours, theirs = (jit(abs).lower(1.0) for jit in (sod2jax.optimize, jax.jit))
    assert public(theirs) <= public(ours)
    layouts = MODULES["jax.jit"].LAYOUTS
    assert public(theirs.compile()) - layouts <= public(ours.compile())


def test_no_name_is_twice_in_a_table():
    keys = [(row.of, row.name) for row in ROWS]
    assert len(set(keys)) == len(keys)
    assert all(isinstance(row, Row) for row in ROWS)


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.drop_in_page"
