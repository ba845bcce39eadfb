"""Collapse of control flow: fewer conds, smaller ones, none where a select is cheaper."""
