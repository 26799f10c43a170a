import json
import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.canonical import canonical, plain, revive

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
# A mapping that is itself spelled {"float": word} is what NaN is spelled as, so it cannot be told apart.
keys = st.text().filter(lambda key: key != "float")
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


def same(left, right):
    """Equality under which NaN equals NaN, -0.0 differs from 0.0, and 1 differs from 1.0 and True."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@given(trees)
def test_what_is_spelled_comes_back_exactly(tree):
    assert same(revive(json.loads(canonical(tree))), tree)


@given(trees)
def test_spelling_again_what_came_back_gives_the_same_bytes(tree):
    spelled = canonical(tree)
    assert canonical(json.loads(spelled)) == spelled


@given(st.dictionaries(keys, scalars, min_size=2))
def test_order_of_keys_does_not_matter(mapping):
    assert canonical(mapping) == canonical(dict(reversed(mapping.items())))


@given(trees)
def test_is_json_that_strict_readers_take(tree):
    def refuse(word):
        raise AssertionError(word)

    json.loads(canonical(tree).decode(), parse_constant=refuse)


class Mode(Enum):
    ON = "on"


@dataclass(frozen=True)
class Step:
    mode: Mode
    levels: tuple[float, ...]


def test_values_of_the_bench_have_a_plain_form():
    assert plain(Step(Mode.ON, (1.0, math.inf))) == {"mode": "on", "levels": [1.0, {"float": "inf"}]}
    assert plain(frozenset({"b", "a"})) == ["a", "b"]
    assert plain(np.float64(0.1)) == 0.1
    assert plain(np.array([1, 2])) == [1, 2]
    assert plain({1: b"\x01"}) == {"1": "01"}


def test_what_has_no_plain_form_is_refused_by_name():
    with pytest.raises(TypeError, match="object"):
        plain({"a": object()})
    with pytest.raises(TypeError, match="spelled the same"):
        plain({1: "a", "1": "b"})
