"""The one JSON spelling of a value: keys sorted, floats by ``repr``, nothing that JSON cannot say.

Numbers that JSON has no word for are spelled ``{"float": "nan"}``, ``{"float": "inf"}`` and
``{"float": "-inf"}``, and come back as floats from ``revive``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: object) -> Any:
    """Give ``value`` as dicts, lists, strings, numbers, booleans and None.

    Sets become sorted lists; dataclasses and named tuples become dicts; enums become their values;
    numpy scalars and arrays become numbers and lists; keys become strings.

    Raises:
        TypeError: an object that has no plain form, or two keys with the same spelling.
    """
    kind = type(value)
    if kind in _AS_IT_IS or (kind is float and math.isfinite(value)):  # type: ignore[arg-type]  # a float
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "tolist"):  # numpy, without importing it
        return plain(value.tolist())
    for known, make in _PLAIN:
        if isinstance(value, known):
            return make(value)
    raise TypeError(f"{kind.__name__} {value!r} has no plain form: give it as mappings, lists and numbers")


def _plain_float(value: float) -> Any:
    number = float(value)
    return number if math.isfinite(number) else {"float": repr(number)}


def _plain_mapping(value: Mapping[Any, object]) -> dict[str, Any]:
    spelled = {str(plain(key)): plain(each) for key, each in value.items()}
    if len(spelled) != len(value):
        raise TypeError(f"two keys of {sorted(map(str, value))} are spelled the same: each may occur once")
    return spelled


_AS_IT_IS = frozenset({str, int, bool, type(None)})
_PLAIN: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Enum, lambda value: plain(value.value)),
    (str, str),
    (int, int),
    (float, _plain_float),
    (Mapping, _plain_mapping),
    (AbstractSet, lambda value: sorted(map(plain, value), key=spell)),
    ((bytes, bytearray), lambda value: bytes(value).hex()),
    (date, lambda value: value.isoformat()),
    (PurePath, lambda value: value.as_posix()),
    (Sequence, lambda value: [plain(each) for each in value]),
)


def spell(value: object, *, indent: int | None = None) -> str:
    """Spell a plain value; equal values give equal text."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        value, sort_keys=True, separators=separators, ensure_ascii=False, allow_nan=False, indent=indent
    )
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, out of some device's bytes
        return json.dumps(value, sort_keys=True, separators=separators, allow_nan=False, indent=indent)
    return text


def canonical(value: object) -> bytes:
    """Spell any value that has a plain form; what hashes are made of."""
    return spell(plain(value)).encode()


def revive(value: Any) -> Any:
    """Turn the spelled ``{"float": "nan"}`` and its like back into floats, everywhere in ``value``."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(word := value.get("float"), str) and word in _NOT_FINITE:
            return _NOT_FINITE[word]
        return {key: revive(each) for key, each in value.items()}
    if isinstance(value, list):
        return [revive(each) for each in value]
    return value


def digest(*parts: bytes | memoryview) -> str:
    """Hash ``parts`` in a row with SHA-256, as 64 hexadecimal digits."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()
