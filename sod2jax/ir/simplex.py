"""Exact linear programmes: the least values of linear forms under linear inequalities."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

_MOST_PIVOTS = 100  # for one goal

Form = Sequence[int]  # a constant, and a coefficient for each variable


class Infeasible(Exception):
    """No point satisfies the inequalities."""


def minima(goals: Sequence[Form], rows: Sequence[Form]) -> list[Fraction | None]:
    """The least value of each goal where every row is 0 or more, as all variables are.

    Returns:
      For each goal its minimum; None if there is none, or if it takes too many steps to find.

    Raises:
      Infeasible: no point makes every row 0 or more.
    """
    width = len(goals[0])
    table = _Table(
        [[*row, 1] for row in rows],
        [1] * len(rows),
        [[0] * width + [1], *([*goal, 0] for goal in goals)],
        [1] * (len(goals) + 1),
        [*range(1, width), 0],
        list(range(width, width + len(rows))),
    )
    if any(row[0] < 0 for row in rows):
        table.pivot(min(range(len(rows)), key=lambda at: rows[at][0]), width)
        if not table.minimise(0):
            return [None] * len(goals)
        if table.goals[0][0] > 0:
            raise Infeasible
    table.drop_lack()
    return [table.least(k) for k in range(1, len(goals) + 1)]


@dataclasses.dataclass
class _Table:
    """Basic variables in terms of the others, which are 0, all in whole numbers.

    Attributes:
      rows: of each basic variable, times its unit: a constant, a coefficient for each other one.
      units: what the rows are multiplied by.
      goals: the same of what all rows lack, which is variable 0, and of each goal.
      goal_units: what these are multiplied by.
      others, basic: the numbers of the variables.
    """

    rows: list[list[int]]
    units: list[int]
    goals: list[list[int]]
    goal_units: list[int]
    others: list[int]
    basic: list[int]

    def pivot(self, at: int, column: int) -> None:
        """Exchanges a basic variable and another."""
        row, unit = self.rows[at], self.units[at]
        sign = 1 if row[column] > 0 else -1
        new = [-sign * number for number in row]
        new[column] = sign * unit
        scale = abs(row[column])
        self.rows[at], self.units[at] = _reduced(new, scale)
        for table, units in ((self.rows, self.units), (self.goals, self.goal_units)):
            for k, old in enumerate(table):
                factor = old[column]
                if factor and (table is self.goals or k != at):
                    mixed = [scale * a + factor * b for a, b in zip(old, new, strict=True)]
                    mixed[column] = factor * new[column]
                    table[k], units[k] = _reduced(mixed, scale * units[k])
        self.basic[at], self.others[column - 1] = self.others[column - 1], self.basic[at]

    def least(self, goal: int) -> Fraction | None:
        """The minimum of a goal; None if none is found."""
        found = self.minimise(goal)
        return Fraction(self.goals[goal][0], self.goal_units[goal]) if found else None

    def minimise(self, goal: int) -> bool:
        """Moves to where a goal is least, by Bland's rule; False if it finds no such place."""
        for _ in range(_MOST_PIVOTS):
            falling = [k for k, slope in enumerate(self.goals[goal][1:], 1) if slope < 0]
            if not falling:
                return True
            column = min(falling, key=lambda k: self.others[k - 1])
            ends = [
                (Fraction(row[0], -row[column]), self.basic[at], at)
                for at, row in enumerate(self.rows)
                if row[column] < 0
            ]
            if not ends:
                return False
            self.pivot(min(ends)[2], column)
        return False

    def drop_lack(self) -> None:
        """Takes out variable 0, which is 0."""
        if 0 in self.basic:
            at = self.basic.index(0)
            column = next((k for k, slope in enumerate(self.rows[at][1:], 1) if slope), None)
            if column is None:
                del self.rows[at], self.units[at], self.basic[at]
            else:
                self.pivot(at, column)
        if 0 in self.others:
            column = self.others.index(0) + 1
            for row in [*self.rows, *self.goals]:
                del row[column]
            del self.others[column - 1]


def _reduced(row: list[int], unit: int) -> tuple[list[int], int]:
    common = math.gcd(unit, *row)
    return ([number // common for number in row], unit // common) if common > 1 else (row, unit)
