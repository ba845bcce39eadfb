"""Loops in canonical form: what they leave as it is stands outside, and counting is a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn

Values = Sequence[Any]


def scan(reader: Any, eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    """The results of a ``scan``; ``reader`` gives values their numbers."""
    consts, carries = _compat.scan_counts(eqn)
    body = eqn.params["jaxpr"]
    inits, xs = operands[consts : consts + carries], operands[consts + carries :]
    with reader.inside():
        rows = reader.arguments(body.invars[consts + carries :], "row")
        variables = body.invars[consts : consts + carries]
        steps, env, effects = _settled(
            reader, body, variables, inits, lambda steps: [*operands[:consts], *steps, *rows]
        )
        outputs = reader.outputs(body, env)
    length, reverse = reader.static(eqn.params["length"]), eqn.params["reverse"]
    return _counted(reader, eqn, inits, steps, outputs, xs, effects, (length, bool(reverse)))


def loop(reader: Any, eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    """The results of a ``while``: those of a ``scan`` if it counts to a known number."""
    split = eqn.params["cond_nconsts"]
    both = split + eqn.params["body_nconsts"]
    body, cond = eqn.params["body_jaxpr"], eqn.params["cond_jaxpr"]
    inits = operands[both:]
    with reader.inside():
        variables = body.invars[both - split :]
        steps, env, effects = _settled(
            reader, body, variables, inits, lambda steps: [*operands[split:both], *steps]
        )
        outputs = reader.outputs(body, env)
        with reader.apart() as before:
            tested = reader.environment(cond, [*operands[:split], *steps])
        tests = reader.outputs(cond, tested)
        trips = _trips(
            _definition(reader, cond, tested, 0),
            lambda k: _definition(reader, body, env, k),
            inits,
            steps,
        )
    if trips is not None and not before:
        return _counted(reader, eqn, inits, steps, outputs, [], effects, (trips, False))
    numbers = tuple(value.number for value in (*inits, *tests, *outputs))
    if before or effects:
        kind = ("while", len(before))
        return reader.acting(eqn, (*kind, numbers), kind, [*before, *effects])
    return reader.results(eqn, ("while", numbers))


def _settled(
    reader: Any,
    body: Jaxpr,
    variables: Sequence[Any],
    inits: Values,
    given: Callable[[list[Any]], list[Any]],
) -> tuple[list[Any], Mapping[Any, Any], list[Any]]:
    """What a step takes, what it computes, and its effects; what no step changes is as before.

    Args:
      reader: gives values their numbers.
      body: of the loop; its first outputs are what it carries.
      variables: what it carries, among its inputs.
      inits: the same, before the loop.
      given: all its inputs, from what a step takes.
    """
    pairs = zip(variables, body.outvars, strict=False)
    kept = [k for k, (before, after) in enumerate(pairs) if after is not before]
    while True:
        fresh = dict(zip(kept, reader.arguments([variables[k] for k in kept], "step"), strict=True))
        steps = [fresh.get(k, init) for k, init in enumerate(inits)]
        with reader.apart() as effects:
            env = reader.environment(body, given(steps))
        after = reader.outputs(body, env)
        changed = [k for k in kept if after[k].number != steps[k].number]
        if changed == kept:
            return steps, env, effects
        kept = changed


def _counted(
    reader: Any,
    eqn: JaxprEqn,
    inits: Values,
    steps: Values,
    outputs: Values,
    xs: Values,
    effects: Sequence[Any],
    modes: tuple[Any, ...],
) -> list[Any]:
    """The results of a loop of known length; what it does not change passes through."""
    changed = [k for k, step in enumerate(steps) if step is not inits[k]]
    given = [inits[k].number for k in changed] + [x.number for x in xs]
    taken = [steps[k].number for k in changed]
    made = [outputs[k].number for k in changed] + [y.number for y in outputs[len(inits) :]]
    token = ("scan", modes, tuple(given), tuple(taken), tuple(made))
    which = [*changed, *range(len(inits), len(outputs))]
    if effects:
        results = reader.acting(eqn, token, ("scan", modes), effects, which)
    else:
        results = reader.results(eqn, token, which)
    values = iter(results)
    return [
        inits[k] if k < len(inits) and k not in changed else next(values)
        for k in range(len(outputs))
    ]


def _definition(
    reader: Any, jaxpr: Jaxpr, env: Mapping[Any, Any], k: int
) -> tuple[str, list[Any]] | None:
    """(primitive, operands) of the equation that makes an output of a jaxpr."""
    made = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    eqn = None if _compat.is_literal(jaxpr.outvars[k]) else made.get(jaxpr.outvars[k])
    if eqn is None:
        return None
    return eqn.primitive.name, [reader.read(env, atom) for atom in eqn.invars]


def _trips(
    test: tuple[str, list[Any]] | None,
    made: Callable[[int], tuple[str, list[Any]] | None],
    inits: Values,
    steps: Values,
) -> int | None:
    """How often a loop runs, if it counts up by ones while below a known number."""
    if test is None or test[0] != "lt" or test[1][1].known is None:
        return None
    counter, end = test[1]
    k = next((k for k, step in enumerate(steps) if step.number == counter.number), None)
    if k is None or inits[k].known is None or inits[k].known.ndim:
        return None
    step = made(k)
    if step is None or step[0] != "add":
        return None
    rest = [value for value in step[1] if value.number != counter.number]
    if len(rest) != 1 or rest[0].known is None or int(rest[0].known) != 1:
        return None
    return max(int(end.known) - int(inits[k].known), 0)
