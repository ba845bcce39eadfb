"""Primitives that build an array from parts, or take a part of one."""
