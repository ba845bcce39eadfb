"""Random Python programs about sizes, as source text, from a seed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fuzz.python_programs.grammar import ARRAYS, AUDITED, ERRORS, EXPRESSIONS, PREAMBLE, RISKY

STATEMENTS = frozenset(
    "branch match try suppress finally loop while assert helper closure default class cache escape "
    "scalar".split()
)
FEATURES = STATEMENTS | EXPRESSIONS.keys() | {feature for feature, *_ in ARRAYS}

# Shapes of the arguments x, y.
_SPECS = (("n", "m"), ("n, m", "m"), ("n, 3", "n"), ("n", "n"), ("n",), ("n, m",), ("n", "m, 2"))


@dataclasses.dataclass(frozen=True)
class Program:
    """A program with the calls to make of it.

    Attributes:
      seed: what it was made from; also that of the values of its arguments.
      source: of a module that defines ``f``.
      specs: the shapes of its arguments.
      options: how it is optimized.
      points: the sizes to call it at, in order.
      features: what it has.
    """

    seed: int
    source: str
    specs: tuple[str, ...]
    options: Mapping[str, Any]
    points: tuple[Mapping[str, int], ...]
    features: frozenset[str] = frozenset()

    @property
    def body(self) -> str:
        """The source without what all programs begin with."""
        return self.source.removeprefix(PREAMBLE).strip()

    def __str__(self) -> str:
        points = [dict(point) for point in self.points]
        return f"# seed {self.seed}: {self.specs}, {dict(self.options)}\n# at {points}\n{self.body}"


@dataclasses.dataclass(frozen=True)
class Array:
    """A variable: a label for each axis, equal where sizes are; whether it holds small integers."""

    name: str
    labels: tuple[str, ...]
    exact: bool


def generate(seed: int, without: frozenset[str] = frozenset()) -> Program:
    """The program of a seed, without some features."""
    attempts = (_attempt(seed, random.Random(f"{seed}.{k}"), without) for k in itertools.count())
    return next(program for program in attempts if is_python(program.source))


def is_python(source: str) -> bool:
    """Whether a program can be compiled: an expression may stand where it must not."""
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            compile(source, "program", "exec")
    except SyntaxError:
        return False
    return True


def _attempt(seed: int, rng: random.Random, without: frozenset[str]) -> Program:
    specs = rng.choice(_SPECS)
    names = sorted({d for spec in specs for d in spec.split(", ") if d.isalpha()})
    writer = _Writer(rng, FEATURES - without)
    source = writer.program(specs)
    points = _points(rng, names)
    options = {**_options(rng, specs, names), "audit": rng.random() < 0.4}
    options["audit"] |= not writer.used.isdisjoint(AUDITED)
    return Program(seed, source, specs, options, points, frozenset(writer.used))


def _points(rng: random.Random, names: Sequence[str]) -> tuple[dict[str, int], ...]:
    """Six sizes, 1 and equal ones among them."""
    points = [dict.fromkeys(names, rng.randint(3, 9)), dict.fromkeys(names, 1)]
    points += [{name: rng.randint(1, 12) for name in names} for _ in range(4)]
    rng.shuffle(points)
    unique = [p for k, p in enumerate(points) if p not in points[:k]]
    return tuple(unique)


def _options(rng: random.Random, specs: tuple[str, ...], names: Sequence[str]) -> Mapping[str, Any]:
    mode = rng.choice(("buckets", "buckets", "bounds", "specs", "bare"))
    if mode == "bare":
        return {}
    if mode == "specs":
        return {"shapes": specs}
    if mode == "bounds":
        return {"shapes": specs, "constraints": tuple(f"{n} <= 12" for n in names)}
    return {"shapes": specs, "buckets": dict.fromkeys(names, rng.choice(((12,), (5, 12))))}


class _Writer:
    """Writes one program."""

    def __init__(self, rng: random.Random, features: frozenset[str]):
        self.rng, self.features = rng, features
        self.lines: list[str] = []
        self.depth = 0
        self.fresh = 0
        self.atoms: list[str] = []
        self.ints: list[str] = []
        self.arrays: list[Array] = []
        self.used: set[str] = set()
        self.templates: dict[str, list[tuple[str, str]]] = {}
        for feature, kinds in EXPRESSIONS.items():
            for kind, templates in kinds.items() if feature in features else ():
                self.templates.setdefault(kind, []).extend((feature, t) for t in templates)
        # A few features to a program, so that each gets its turn.
        focus = rng.sample(sorted(features), min(len(features), rng.randint(2, 5)))
        self.focus = frozenset(focus)

    # Text

    def emit(self, text: str) -> None:
        self.lines += ["    " * self.depth + line for line in text.split("\n")]

    @contextlib.contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.emit(head)
        self.depth += 1
        yield
        self.depth -= 1

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """What is defined inside is not known after it."""
        before = list(self.atoms), list(self.ints), list(self.arrays)
        yield
        self.atoms, self.ints, self.arrays = before

    def new(self, prefix: str) -> str:
        self.fresh += 1
        return f"{prefix}{self.fresh}"

    # Expressions

    def pick(self, rows: Sequence[Any], feature: Any = lambda row: row[0]) -> Any:
        """One of some rows, more likely one of the program's own features."""
        focused = [row for row in rows if feature(row) in self.focus]
        row = self.rng.choice(focused if focused and self.rng.random() < 0.6 else rows)
        self.used.add(feature(row))
        return row

    def expression(self, kind: str, depth: int) -> str:
        rows = self.templates.get(kind, [])
        if not rows or (depth <= 0 and kind in ("int", "float", "str")):
            return self.leaf(kind)
        if kind == "int" and self.rng.random() < 0.3:
            return self.leaf(kind)
        return self.filled(self.pick(rows)[1], depth - 1)

    def leaf(self, kind: str) -> str:
        atom = self.rng.choice(self.atoms)
        if kind == "int" and self.rng.random() < 0.3:
            return self.rng.choice([*self.ints, str(self.rng.randint(0, 9))])
        leaves = {
            "float": f"{atom} * 0.5",
            "cond": f"{atom} > {self.rng.randint(1, 8)}",
            "str": "'3'",
        }
        return leaves.get(kind, atom)

    def filled(self, template: str, depth: int, **given: str) -> str:
        def slot(match: re.Match[str]) -> str:
            name = match[1]
            if name in given:
                return given[name]
            if name in ("x", "y"):
                return self.rng.choice([a.name for a in self.arrays if a.labels])
            if name == "atom":
                return self.rng.choice(self.atoms)
            if name == "size":
                return self.size(depth)
            if name in ("c", "p", "bit"):
                low, high = {"c": (0, 9), "p": (1, 5), "bit": (0, 1)}[name]
                return str(self.rng.randint(low, high))
            return self.expression(name, depth)

        text = re.sub(
            r"(?<!\{)\{(\w+)\}", slot, template.replace("{{{", "\0{").replace("}}}", "}\1")
        )
        return text.replace("{{", "{").replace("}}", "}").replace("\0", "{").replace("\1", "}")

    def size(self, depth: int) -> str:
        if self.rng.random() < 0.4:
            return self.rng.choice(self.atoms)
        form = self.rng.choice(("min(abs({int}), 7)", "abs({int}) % 6", "max(1, {int} % 9)"))
        return self.filled(form, depth)

    # Arrays

    def matched(self, signature: str) -> tuple[list[Array], Any] | None:
        """Arrays of the program that fit a signature's operands, and what letters stand for."""
        known: dict[str, Any] = {}
        chosen: list[Array] = []
        for pattern in filter(None, signature.split("->")[0].split(",")):
            fits = [a for a in self.arrays if self._fits(pattern, a, known)]
            if not fits:
                return None
            array = self.rng.choice(fits[-4:])
            known.update(
                {"*": array.labels} if pattern == "*" else zip(pattern, array.labels, strict=True)
            )
            chosen.append(array)
        return chosen, known

    @staticmethod
    def _fits(pattern: str, array: Array, known: Mapping[str, Any]) -> bool:
        if pattern == "*":
            return known.get("*", array.labels) == array.labels
        return len(pattern) == len(array.labels) and all(
            known.get(letter, label) == label
            for letter, label in zip(pattern, array.labels, strict=True)
        )

    def array(self, rank: int | None = None, rows: Any = None, depth: int = 2) -> tuple[str, Array]:
        """A random array expression, and what it gives."""
        rows = rows or [row for row in ARRAYS if row[0] in self.features]
        for _ in range(60):
            *_, signature, template, result = self.pick(rows)
            found = self.matched(signature)
            if found is None:
                continue
            operands, known = found
            if result == "!" and not all(a.exact for a in operands):
                continue
            pattern = signature.split("->")[1]
            labels = (
                known["*"]
                if pattern == "*"
                else tuple(known.get(p) or self.new("?") for p in pattern)
            )
            if len(labels) > 2 or (rank is not None and len(labels) != rank):
                continue
            given = dict(zip("xy", [a.name for a in operands], strict=False))
            exact = result != "~" and all(a.exact for a in operands)
            return self.filled(template, depth, **given), Array("", labels, exact)
        (source, *_) = [a for a in self.arrays if rank in (None, len(a.labels))] or self.arrays
        reduced = "" if rank in (None, len(source.labels)) else ".sum()"
        labels = () if reduced else source.labels
        return source.name + reduced, Array("", labels, source.exact)

    def bind(self, array: Array, name: str | None = None) -> str:
        name = name or self.new("a")
        self.arrays.append(dataclasses.replace(array, name=name))
        return name

    def assign(self, depth: int = 2) -> None:
        text, array = self.array(depth=depth)
        name = self.new("a")
        self.emit(f"{name} = {text}")
        self.bind(array, name)

    # Statements

    def statement(self) -> None:
        kinds = sorted(self.features & STATEMENTS - {"escape", "scalar"})
        if not kinds or self.rng.random() < 0.45:
            self.assign()
        elif self.rng.random() < 0.2:
            self.integer()
        else:
            getattr(self, f"write_{self.pick(kinds, lambda kind: kind)}")()

    def integer(self) -> None:
        name = self.new("k")
        self.emit(f"{name} = {self.expression('int', 3)}")
        self.ints.append(name)

    def rank(self) -> int:
        return self.rng.choice((1, 1, 1, 2, 0))

    def cases(self, heads: Sequence[str], around: str = "") -> None:
        """An array that each of several blocks defines."""
        rank, name, arrays = self.rank(), self.new("a"), []
        with self.block(around) if around else contextlib.nullcontext():
            for head in heads:
                with self.block(head), self.scope():
                    text, array = self.array(rank)
                    self.emit(f"{name} = {text}")
                    arrays.append(array)
        self.merge(name, arrays)

    def merge(self, name: str, arrays: Sequence[Array]) -> None:
        ranks = {len(a.labels) for a in arrays}
        if len(ranks) > 1:
            self.emit(f"{name} = jnp.sum({name})")
            labels: tuple[str, ...] = ()
        else:
            same = len({a.labels for a in arrays}) == 1
            labels = arrays[0].labels if same else tuple(self.new("?") for _ in arrays[0].labels)
        self.bind(Array(name, labels, all(a.exact for a in arrays)), name)

    def write_branch(self) -> None:
        heads = [f"if {self.expression('cond', 3)}:"]
        heads += [f"elif {self.expression('cond', 2)}:"] * (self.rng.random() < 0.3)
        self.cases([*heads, "else:"])

    def write_match(self) -> None:
        subject = self.rng.choice((self.expression("int", 2), f"{self.arrays[0].name}.shape"))
        guard = self.expression("cond", 2)
        if subject.endswith(".shape"):
            first = self.rng.choice(
                (f"({self.rng.randint(1, 9)}, *_)", "(q,)", "(q, 3 | 4)", "(1 | 2 | 3, *_)")
            )
        else:
            first = self.rng.choice((f"{self.rng.randint(1, 9)}", "1 | 2 | 3", "int()", "str()"))
        self.cases([f"case {first}:", f"case _ if {guard}:", "case _:"], f"match {subject}:")

    def risky(self) -> tuple[str, Array]:
        text, array = self.array(rows=[("", *row) for row in RISKY])
        return text, array

    def write_try(self) -> None:
        name = self.new("a")
        with self.block("try:"):
            if self.rng.random() < 0.2:
                self.emit(f"assert {self.expression('cond', 2)}")
            text, array = self.risky()
            self.emit(f"{name} = {text}")
        with self.block(f"except {self.rng.choice(ERRORS)}:"):
            other, default = self.array(len(array.labels))
            self.emit(f"{name} = {other}")
        if self.rng.random() < 0.2:
            with self.block("else:"):
                self.emit(f"{name} = {name} + 1")
        self.merge(name, [array, default])

    def write_finally(self) -> None:
        helper, a = self.new("g"), self.rng.choice([a for a in self.arrays if a.labels])
        with self.block(f"def {helper}():"):
            with self.block("try:"), self.scope():
                text, array = self.risky()
                self.emit(f"z = {text}\nreturn z")
            with self.block("finally:"):
                jump = self.rng.choice(("return", "pass"))
                self.emit(f"return {a.name} * 3" if jump == "return" else "pass")
        name = self.new("a")
        self.emit(f"{name} = {helper}()")
        self.bind(dataclasses.replace(a if jump == "return" else array), name)

    def write_suppress(self) -> None:
        name = self.new("a")
        other, default = self.array()
        self.emit(f"{name} = {other}")
        with self.block(f"with contextlib.suppress({self.rng.choice(ERRORS).strip('()')}):"):
            text, array = self.risky()
            self.emit(f"{name} = {text}")
        self.merge(name, [default, array])

    def write_assert(self) -> None:
        self.emit(f"assert {self.expression('cond', 2)} or {self.rng.choice(self.atoms)} > 2")

    def write_loop(self) -> None:
        array = self.rng.choice([a for a in self.arrays if a.labels])
        name, step = self.new("a"), self.new("i")
        self.emit(f"{name} = {array.name}")
        source = self.rng.choice(
            (f"range({self.size(1)})", f"range({self.rng.randint(1, 3)})", f"{array.name}.shape")
        )
        with self.block(f"for {step} in {source}:"), self.scope():
            self.ints.append(step)
            if self.rng.random() < 0.3:
                with self.block(f"if {self.expression('cond', 2)}:"):
                    self.emit(self.rng.choice(("break", "continue")))
            self.emit(f"{name} = {self.filled('{x} + {int}', 2, x=name)}")
        self.bind(array, name)

    def write_while(self) -> None:
        name = self.new("k")
        self.emit(f"{name} = {self.rng.choice(self.atoms)}")
        with self.block(f"while {name} > {self.rng.randint(1, 4)}:"):
            self.emit(f"{name} = {self.rng.choice((f'{name} // 2', f'{name} - 2', f'{name} - 3'))}")
            if self.rng.random() < 0.3:
                with self.block(f"if {name} == {self.rng.randint(1, 6)}:"):
                    self.emit("break")
        self.ints.append(name)

    def function(self, head: str, atom: str) -> None:
        """The body of a function from an integer to an integer."""
        with self.block(head), self.scope():
            self.atoms, self.ints = [atom], []
            if self.rng.random() < 0.5:
                with self.block(f"if {self.expression('cond', 1)}:"):
                    self.emit(f"return {self.expression('int', 1)}")
            self.emit(f"return {self.expression('int', 2)}")

    def called(self, function: str, *more: str) -> None:
        arguments = ", ".join((self.expression("int", 1), *more))
        name = self.new("k")
        self.emit(f"{name} = {function}({arguments})")
        self.ints.append(name)

    def write_helper(self) -> None:
        name = self.new("h")
        self.function(f"def {name}(q):", "q")
        self.called(name)

    def write_default(self) -> None:
        name = self.new("h")
        self.function(
            f"def {name}(p, q={self.expression('int', 1)}, *, r={self.rng.choice(self.atoms)}):",
            "q",
        )
        self.called(name, *self.rng.choice(([], [f"r={self.expression('int', 1)}"])))

    def write_cache(self) -> None:
        name = self.new("h")
        self.emit("@functools.lru_cache")
        self.function(f"def {name}(q):", "q")
        self.called(name)
        self.called(name)

    def write_closure(self) -> None:
        outer, array = self.new("g"), self.rng.choice([a for a in self.arrays if a.labels])
        with self.block(f"def {outer}(q):"):
            with self.scope():
                self.atoms.append("q")
                self.emit(f"count = {self.expression('int', 2)}")
                with self.block("def inner(z):"):
                    self.emit("nonlocal count")
                    self.emit(f"count += {self.expression('int', 1)}")
                    self.emit(f"return {self.filled('z * count if {cond} else z - q', 2)}")
            self.emit("return inner")
        name = self.new("a")
        self.emit(f"{name} = {outer}({self.expression('int', 1)})({array.name})")
        self.bind(array, name)

    def write_class(self) -> None:
        kind, array = self.new("C"), self.rng.choice([a for a in self.arrays if a.labels])
        with self.block(f"class {kind}:"), self.scope():
            with self.block("def __init__(self, q):"):
                self.emit("self.length = q\nself.seen = []")
            with self.block("def __call__(self, z):"):
                self.atoms.append("self.length")
                self.emit(f"self.seen.append({self.expression('int', 1)})")
                self.emit(f"self.length = {self.expression('int', 1)}")
                self.emit(
                    f"return {self.filled('z * self.length if {cond} else z + self.seen[-1]', 1)}"
                )
        item, name = self.new("o"), self.new("a")
        self.emit(f"{item} = {kind}({self.expression('int', 1)})")
        self.emit(f"{name} = {item}({array.name})")
        self.bind(array, name)
        self.ints.append(f"{item}.length")

    # The whole

    def program(self, specs: Sequence[str]) -> str:
        names = ["x", "y"][: len(specs)]
        with self.block(f"def f({', '.join(names)}):"):
            for name, spec in zip(names, specs, strict=True):
                self.arrays.append(Array(name, tuple(spec.split(", ")), True))
                for axis, dim in enumerate(spec.split(", ")):
                    if dim.isalpha():
                        self.atoms.append(f"{name}.shape[{axis}]")
            for dim in ("n", "m"):
                place = next(
                    ((a.name, a.labels.index(dim)) for a in self.arrays if dim in a.labels), None
                )
                if place and self.rng.random() < 0.7:
                    self.emit(f"{dim} = {place[0]}.shape[{place[1]}]")
                    self.atoms += [dim, dim]
            for _ in range(self.rng.randint(1, 4)):
                self.statement()
            self.assign()
            self.emit(f"return {self.result()}")
        return PREAMBLE + "\n" + "\n".join(self.lines) + "\n"

    def result(self) -> str:
        values = [a.name for a in self.arrays[-2:]]
        if "scalar" in self.features and self.rng.random() < 0.25:
            values.append(self.expression(self.rng.choice(("int", "cond", "float")), 2))
        values += self.ints[-1:]
        if "escape" in self.features & self.focus:
            size = self.expression("int", 1)
            return self.rng.choice(
                (
                    f"{{'a': {values[0]}, 'n%d' % {size}: {values[-1]}}}",
                    f"{{{size}: {values[0]}}}",
                    f"[{values[0]}] * abs({size} % 4)",
                )
            )
        return ", ".join(values)
