"""Choices of versions on disk: found again, for one program on one kind of machine."""

from __future__ import annotations

import pytest

from sod2jax.runtime import choices
from sod2jax.target import Target

CPU = Target("cpu", "cpu")


def test_what_was_stored_is_found() -> None:
    key = choices.key_of("module @f {}", CPU, "fast")
    assert choices.stored(key) is None
    choices.store(key, {"figures": [1]})
    assert choices.stored(key) == {"figures": [1]}
    choices.store(key, {"figures": [2]})
    assert choices.stored(key) == {"figures": [2]}


def test_keys_tell_programs_machines_and_ways_to_tune_apart() -> None:
    keys = {
        choices.key_of(text, target, tune)
        for text in ("a", "b")
        for target in (CPU, Target("gpu", "H100"))
        for tune in ("fast", "full")
    }
    assert len(keys) == 8
    assert choices.key_of("a", CPU, "fast") in keys


def test_files_that_cannot_be_read_are_nothing() -> None:
    key = choices.key_of("broken", CPU, "fast")
    choices.store(key, {})
    path = choices.directory() / f"{key}.json"
    for text in ("", "{", "[1]"):
        path.write_text(text)
        assert choices.stored(key) is None


def test_nothing_is_left_where_a_choice_cannot_be_put() -> None:
    (choices.directory() / "taken.json").mkdir(parents=True)
    choices.store("taken", {})
    assert not list(choices.directory().glob("tmp*"))


def test_a_directory_that_cannot_be_written_is_of_no_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(choices.DIRECTORY_VARIABLE, str(tmp_path / "file" / "below"))
    choices.store("key", {})
    assert choices.stored("key") is None
