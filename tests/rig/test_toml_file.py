"""TOML written by us is read by the standard library, and mistakes are told in the file's words."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.rig.toml_file import Part, numbers, parse_toml, read_part, toml_text

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_leaves = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | _texts
    | st.dates(min_value=dt.date(1900, 1, 1))
    | st.times()
    | st.datetimes(min_value=dt.datetime(1900, 1, 1))  # noqa: DTZ001 - TOML's local date-time has no zone
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_texts, _values, max_size=4))
def test_what_is_written_is_read_back_equal(table):
    assert tomllib.loads(toml_text(table)) == table


def test_writing_refuses_what_toml_has_no_word_for():
    with pytest.raises(TypeError, match="no word for None"):
        toml_text({"a": None})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'a = 1\nb = [1,\nc = "x"\n', "line 3, column 1"),
        (b"a = 1\na = 2\n", "line 2, column 6"),
        (b"[wires\n", "line 1, column 7"),
        (b"a = 1\nb = '\xff'\n", "line 2, column 6: byte 0xff is no UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
    ],
)
def test_broken_toml_is_told_with_file_line_and_column(content, said):
    with pytest.raises(ConfigurationError) as caught:
        parse_toml(content, "odd.toml")
    assert str(caught.value).startswith("odd.toml: ")
    assert said in str(caught.value)


@given(st.binary(max_size=40))
def test_no_bytes_make_a_traceback(content):
    try:
        parse_toml(content, "odd.toml")
    except ConfigurationError as error:
        assert str(error).startswith("odd.toml: ")  # noqa: PT017 - most byte strings do not parse


class Fan(Part):
    speed_hz: float
    mode: Literal["slow", "fast"]
    blades: tuple[int, ...] = ()


MEANT_BLADES = "; did you mean 'blades'?"


class Box(Part):
    fans: dict[str, Fan]
    spare: Fan | None = None


def test_every_mistake_is_told_at_once_with_key_what_came_and_what_is_allowed():
    table = {
        "fans": {"left": {"speed_hz": "10", "mode": "fsat", "blades": [3, 4.5]}, "right": {"mode": "slow"}},
        "spare": {"speed_hz": 1.0, "mode": "slow", "blade": 1},
        "fan": {},
    }
    with pytest.raises(ConfigurationError) as caught:
        read_part(Box, table, "box.toml")
    assert caught.value.mistakes == (
        'box.toml: fans.left.speed_hz = "10": allowed: a number',
        "box.toml: fans.left.mode = \"fsat\": allowed: slow, fast; did you mean 'fast'?",
        "box.toml: fans.left.blades[1] = 4.5: allowed: a whole number",
        "box.toml: fans.right.speed_hz is missing; allowed: a number",
        "box.toml: spare.blade = 1: no such key; allowed here: blades, mode, speed_hz" + MEANT_BLADES,
        "box.toml: fan = {}: no such key; allowed here: fans, spare; did you mean 'fans'?",
    )


def test_a_whole_number_passes_for_a_number_and_yes_does_not():
    assert read_part(Fan, {"speed_hz": 3, "mode": "slow"}, "fan.toml").speed_hz == 3.0
    with pytest.raises(ConfigurationError, match="speed_hz = true: allowed: a number"):
        read_part(Fan, {"speed_hz": True, "mode": "slow"}, "fan.toml")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_is_finite(value):
    with pytest.raises(ConfigurationError, match="finite number"):
        read_part(Fan, {"speed_hz": value, "mode": "slow"}, "fan.toml")


def test_numbers_are_named_as_requirements_name_them():
    table = {"limits": {"rte": 0.9, "is_new": True}, "band": [1, 2.5], "steps": [{"hold_s": 3}], "note": "4"}
    assert numbers(table) == {"limits.rte": 0.9, "band[0]": 1.0, "band[1]": 2.5, "steps[0].hold_s": 3.0}
