"""Code that tells of the errors that its handlers are entered with.

Python 3.11 has no events for that which cost nothing where no error is raised. So the handlers of
a code object are entered by way of a call that is appended to its instructions: none of the others
moves, and lines, columns and names stay as they are.
"""

from __future__ import annotations

import dis
import opcode
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

WRITES = sys.version_info[:2] == (3, 11)
"""Whether the bytecode is of the version that is written here."""

_PUSHED = 3  # what the call needs on the stack
_NO_LINE = 0x80 | 15 << 3  # in a table of lines; and how many instructions, less 1
_MOST_UNITS = 8  # of one entry there
_STARTS_ENTRY, _GOES_ON, _BITS = 0x80, 0x40, 6  # of a table of exceptions


def telling(code: CodeType, tell: Callable[[BaseException], Any]) -> CodeType:
    """The code, and that inside of it, with handlers that call a function first; itself without.

    Args:
      code: of a function.
      tell: takes the error; raises none.
    """
    consts = tuple(telling(c, tell) if isinstance(c, CodeType) else c for c in code.co_consts)
    if any(a is not b for a, b in zip(consts, code.co_consts, strict=True)):
        code = code.replace(co_consts=consts)
    entries = list(_entries(code.co_exceptiontable))
    handlers = [t for t in dict.fromkeys(e[2] for e in entries) if _is_handler(code, t)]
    if not handlers:
        return code
    instructions, moved = bytearray(code.co_code), {}
    for handler in handlers:
        moved[handler] = len(instructions) // 2
        instructions += _call(len(code.co_consts), moved[handler], handler)
    added = (len(instructions) - len(code.co_code)) // 2
    return code.replace(
        co_code=bytes(instructions),
        co_consts=(*code.co_consts, tell),
        co_stacksize=code.co_stacksize + _PUSHED,
        co_exceptiontable=b"".join(
            _written(start, size, moved.get(to, to), depth) for start, size, to, depth in entries
        ),
        co_linetable=code.co_linetable + _without_line(added),
    )


def _is_handler(code: CodeType, unit: int) -> bool:
    """Whether what an error leads to is written by somebody, rather than cleaning up."""
    return code.co_code[2 * unit] == dis.opmap["PUSH_EXC_INFO"]


def _call(const: int, here: int, handler: int) -> bytes:
    """Calls a constant with the error on top of the stack, and goes on at a handler."""
    call = b"".join(
        (
            _step("PUSH_NULL"),
            _step("LOAD_CONST", const),
            _step("COPY", 3),
            _step("PRECALL", 1),
            _step("CALL", 1),
            _step("POP_TOP"),
        )
    )
    after, jump = here + len(call) // 2, b""
    while len(jump) != len(jump := _step(_JUMP, after + len(jump) // 2 - handler)):
        pass  # a longer way may take a longer jump
    return call + jump


_JUMP = "JUMP_BACKWARD_NO_INTERRUPT"


def _step(name: str, arg: int = 0) -> bytes:
    """An instruction, what extends its argument, and its caches."""
    parts = [arg & 255]
    while arg := arg >> 8:
        parts.append(arg & 255)
    extended = [(dis.opmap["EXTENDED_ARG"], part) for part in reversed(parts[1:])]
    code = dis.opmap[name]
    caches = opcode._inline_cache_entries[code]  # type: ignore[attr-defined]
    return bytes(b for pair in (*extended, (code, parts[0])) for b in pair) + bytes(2 * caches)


def _entries(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(first unit, units, where to, depth of the stack and a flag) of a table of exceptions."""
    numbers: list[int] = []
    number = 0
    for byte in table:
        number = number << _BITS | byte & (_GOES_ON - 1)
        if not byte & _GOES_ON:
            numbers.append(number)
            number = 0
    return zip(*[iter(numbers)] * 4, strict=True)  # type: ignore[return-value]


def _written(*numbers: int) -> bytes:
    first, *rest = (_number(number) for number in numbers)
    return bytes([first[0] | _STARTS_ENTRY, *first[1:], *(byte for part in rest for byte in part)])


def _number(number: int) -> list[int]:
    parts = [number & (_GOES_ON - 1)]
    while number := number >> _BITS:
        parts.append(number & (_GOES_ON - 1) | _GOES_ON)
    return parts[::-1]


def _without_line(units: int) -> bytes:
    sizes = [_MOST_UNITS] * (units // _MOST_UNITS) + [units % _MOST_UNITS]
    return bytes(_NO_LINE | size - 1 for size in sizes if size)
