"""The map and the glossary of CONTRIBUTING.md, and what the documents name, are true."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.test_layers import ORDER, PACKAGE, PLANNED, ROOT

DOCUMENTS = ("CONTRIBUTING.md", "README.md", "bench/README.md", "docs/coverage.md")
# Between a call and its result.
ROOMS = ("arguments", "tracing", "ir", "passes", "buckets", "rewrite", "runtime", "planning")
BUILT = (".venv/",)  # not in the repository


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of CONTRIBUTING.md, without its head."""
    section = text_of("CONTRIBUTING.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def places(package: str = "") -> Iterator[str]:
    """Folders and, of the package itself, modules, in the order that imports have."""
    for name in ORDER[package].split():
        path = "/".join(filter(None, (package, name)))
        if path in ORDER:
            yield f"{path}/"
            yield from places(path)
        elif not package and name not in PLANNED:
            yield f"{name}.py"


def test_the_map_names_what_there_is_in_the_order_of_imports() -> None:
    rows = table("How the house is laid out")
    assert [spans(where) for where, _ in rows] == [[place] for place in places()]
    assert all((PACKAGE / place).exists() for place in places())
    assert all(about for _, about in rows)


def owner_and_rest(name: str) -> tuple[Any, list[str]]:
    """The longest module that a dotted name below sod2jax begins with, and what follows."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(["sod2jax", *parts[:count]])
        if (
            PACKAGE.joinpath(*parts[:count]).is_dir()
            or PACKAGE.joinpath(*parts[: count - 1], f"{parts[count - 1]}.py").is_file()
        ):
            return importlib.import_module(module), parts[count:]
    raise AssertionError(f"no module of sod2jax begins {name}")


def exists(name: str) -> bool:
    """Whether a dotted name below sod2jax is a module, or a name in one."""
    value, rest = owner_and_rest(name)
    for part in rest:
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        if part in {field.name for field in fields}:
            return part == rest[-1]
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


@functools.cache
def glossary() -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((word, tuple(spans(code))) for word, _, code in table("Glossary"))


@pytest.mark.parametrize(("word", "names"), [pytest.param(*row, id=row[0]) for row in glossary()])
def test_what_carries_a_word_exists(word: str, names: tuple[str, ...]) -> None:
    assert names, f"say what carries '{word}'"
    assert not [name for name in names if not exists(name)]


def test_every_word_stands_once() -> None:
    words = [word for entry, _ in glossary() for word in re.split(r", | \(|\)", entry) if word]
    assert len(words) == len(set(words))


def public_classes(room: str) -> Iterator[str]:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_type_between_call_and_result_is_in_the_glossary(room: str) -> None:
    named = {name for _, names in glossary() for name in names}
    missing = [name for name in public_classes(room) if name not in named]
    assert not missing, f"give {missing} a row in the glossary of CONTRIBUTING.md"


def paths_in(document: str) -> Iterator[str]:
    """What a document names as a path: in code, with a folder in it or the end of a file's name."""
    text = text_of(document)
    code = [*spans(text), *re.findall(r"\]\(([^)#:]+)\)", text)]
    code += [word for line in text.splitlines() if line.startswith("    ") for word in line.split()]
    for piece in code:
        for word in piece.split():
            word = word.strip("`,;()\"'")
            if re.fullmatch(r"\.?\w[\w./-]*(/|/[\w.-]+|\.py|\.md)", word) and "://" not in word:
                yield word


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_that_documents_name_exist(document: str) -> None:
    bases = (ROOT, (ROOT / document).parent, PACKAGE)
    wrong = [
        path
        for path in paths_in(document)
        if not path.startswith(BUILT) and not any((base / path).exists() for base in bases)
    ]
    assert not wrong


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_and_targets_that_documents_name_exist(document: str) -> None:
    text = text_of(document)
    modules = re.findall(r"python -m ([\w.]*\w)", text)
    assert not [name for name in modules if importlib.util.find_spec(name) is None]
    made = re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE)
    asked = re.findall(r"(?:`|^ {4})make (?:[A-Z]+=\S+ )*([a-z-]+)", text, flags=re.MULTILINE)
    assert set(asked) <= set(made)


def test_untrue_names_are_seen() -> None:
    assert exists("ir.program.Program.guards") and exists("rewrite.lanes")
    assert not exists("ir.program.Programme") and not exists("ir.program.Program.guarded")
    with pytest.raises(AssertionError, match="no module"):
        exists("nowhere.Program")
    assert {"bench/README.md", "docs/coverage.md"} <= set(paths_in("README.md"))
    assert "sod2jax/passes/branches/select.py" in set(paths_in("bench/README.md"))
