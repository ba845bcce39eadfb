"""Real token sequences: the functions and classes of Python's own standard library.

The tokeniser needs no download. A pattern in the manner of GPT-2's pre-tokenisation cuts the
text into words (with their leading space), numbers, punctuation and runs of spaces, and long
words into short pieces; a piece's id is a hash of its text. At about three characters per
token, lengths are those of byte-pair encodings on code. The corpus is that of the running
interpreter, so it differs a little between Python versions and is always the same within one.
"""

from __future__ import annotations

import ast
import functools
import re
import sysconfig
import warnings
import zlib
from pathlib import Path

import numpy as np

BOS_ID, PAD_ID, EOS_ID = 0, 1, 2
_SPECIAL = 3

# Top-level modules up to this size hold thousands of snippets and are read in about a second.
_MAX_FILE_BYTES = 45_000
_MIN_REQUEST_TOKENS = 16

_PIECE = re.compile(
    r" ?[^\W\d_]{1,6}"  # letters, a longer word in several pieces
    r"| ?\d{1,3}"
    r"| ?[^\w\s]{1,3}"  # punctuation
    r"|_+"
    r"|\n"
    r"| {1,8}"
    r"|.",
    re.DOTALL,
)


@functools.cache
def texts() -> tuple[str, ...]:
    """Source text of every function and class, dedented, each text once, in file order."""
    library = Path(sysconfig.get_path("stdlib"))
    found: dict[str, None] = {}
    for file in sorted(library.glob("*.py")):
        if file.stat().st_size <= _MAX_FILE_BYTES:
            found.update(dict.fromkeys(_definitions(file)))
    if not found:
        raise RuntimeError(f"the standard library in {library} has no source files")
    return tuple(found)


def tokenize(text: str) -> list[str]:
    """Cuts `text` into pieces; joined they are `text` again."""
    return _PIECE.findall(text)


def snippets(vocab_size: int, max_length: int) -> list[np.ndarray]:
    """Every snippet of at most `max_length` tokens, none cut short.

    Returns:
      int32 arrays [n], `<s> ... </s>`, ids below `vocab_size`; in a fixed order, read-only.
    """
    return [ids for ids in _corpus(vocab_size) if len(ids) <= max_length]


def requests(
    count: int, batch: int, seed: int, vocab_size: int, max_length: int
) -> list[tuple[np.ndarray, ...]]:
    """A stream of requests, each of `batch` snippets drawn by `seed`.

    Drawn without replacement, while there are enough, from the snippets of 16 to `max_length`
    tokens; each with a chance in proportion to its length, so that every token of the corpus is
    equally likely to be in a request. (Most functions are short: their median is near 75 tokens.)

    Returns:
      For batch 1 tuples `(ids [1, n],)`; otherwise `(ids [batch, n], mask [batch, n])`, padded
      to the longest of the batch as tokenizers do, with mask 1 on tokens. All int32.
    """
    pool = [ids for ids in snippets(vocab_size, max_length) if len(ids) >= _MIN_REQUEST_TOKENS]
    rng = np.random.default_rng(seed)
    lengths = np.array([len(ids) for ids in pool], float)
    drawn = rng.choice(
        len(pool),
        size=(count, batch),
        replace=count * batch > len(pool),
        p=lengths / lengths.sum(),
    )
    if batch == 1:
        return [(pool[i][None, :],) for (i,) in drawn]
    return [_pad_to_longest([pool[i] for i in row]) for row in drawn]


def padded_batch(
    rng: np.random.Generator, batch: int, length: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A padded batch whose longest row has exactly `length` tokens.

    That row is a longer snippet cut to `length`, as tokenizers truncate; the others are whole
    snippets where they fit.

    Returns:
      `(ids, mask)`, int32 [batch, length].

    Raises:
      ValueError: if no snippet has `length` tokens.
    """
    corpus = _corpus(vocab_size)
    long_enough = [ids for ids in corpus if len(ids) >= length]
    if not long_enough:
        raise ValueError(f"the longest snippet has {max(map(len, corpus))} tokens, not {length}")
    rows = [_truncate(corpus[i], length) for i in rng.integers(len(corpus), size=batch)]
    longest = long_enough[rng.integers(len(long_enough))]
    rows[rng.integers(batch)] = _truncate(longest, length)
    return _pad_to_longest(rows)


def _truncate(ids: np.ndarray, length: int) -> np.ndarray:
    if len(ids) <= length:
        return ids
    return np.append(ids[: length - 1], ids[-1])


def _pad_to_longest(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(rows), max(map(len, rows)))
    ids = np.full(shape, PAD_ID, np.int32)
    mask = np.zeros(shape, np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


@functools.cache
def _corpus(vocab_size: int) -> tuple[np.ndarray, ...]:
    if vocab_size <= _SPECIAL:
        raise ValueError(f"vocab_size must be above {_SPECIAL}, got {vocab_size}")
    corpus = tuple(_encode(hashes, vocab_size) for hashes in _hashed_texts())
    for ids in corpus:
        ids.flags.writeable = False
    return corpus


def _encode(hashes: np.ndarray, vocab_size: int) -> np.ndarray:
    body = _SPECIAL + hashes % np.uint32(vocab_size - _SPECIAL)
    return np.concatenate(([BOS_ID], body, [EOS_ID])).astype(np.int32)


@functools.cache
def _hashed_texts() -> tuple[np.ndarray, ...]:
    crc = functools.cache(lambda piece: zlib.crc32(piece.encode()))
    return tuple(np.array([crc(p) for p in tokenize(text)], np.uint32) for text in texts())


def _definitions(file: Path) -> list[str]:
    try:
        source = file.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError):
        return []
    lines = source.splitlines(keepends=True)
    return [
        _definition_text(node, lines)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def _definition_text(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, lines: list[str]
) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    indent = " " * node.col_offset
    return "".join(line.removeprefix(indent) for line in lines[first - 1 : node.end_lineno])
