"""TOML files against models: every mistake at once, each with file, key, what came and what is allowed."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import ConfigurationError, near_miss

T = TypeVar("T")
PartT = TypeVar("PartT", bound=BaseModel)


class Part(BaseModel):
    """A table of a file: unknown keys are refused, and no text passes for a number."""

    # A model is built when a table is first held against it: within its file's, most never are by themselves.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


def _is_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError("a name is lower-case letters, digits and _, with a letter first")
    return name


Name = Annotated[str, AfterValidator(_is_name)]
"""Of a wire, a device or a fault. No dot, since the record writes ``<device>.<quantity>``."""

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


def _is_ordered(window: tuple[float, float]) -> tuple[float, float]:
    if window[0] >= window[1]:
        raise ValueError(f"lowest {window[0]} is not below highest {window[1]}")
    return window


Window = Annotated[tuple[float, float], AfterValidator(_is_ordered)]
"""Lowest and highest."""

FractionWindow = Annotated[tuple[Fraction, Fraction], AfterValidator(_is_ordered)]
"""Lowest and highest, each 0 to 1."""


def _is_each_once(entries: tuple[T, ...]) -> tuple[T, ...]:
    twice = [entry for place, entry in enumerate(entries) if entry in entries[:place]]
    if twice:
        raise ValueError(f"{twice[0]} is there twice; allowed: each once")
    return entries


EachOnce = Annotated[tuple[Name, ...], AfterValidator(_is_each_once)]
"""Names, none of them twice."""

Frequencies = Annotated[tuple[Literal[50, 60], ...], Field(min_length=1), AfterValidator(_is_each_once)]
"""Nominal frequencies, in Hz."""


def rises(curve: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Refuse a curve whose points do not rise."""
    places = [place for place, _ in curve]
    if any(after <= before for before, after in pairwise(places)):
        raise ValueError(f"the first numbers of the points must rise: {places}")
    return curve


Location = tuple[int | str, ...]


def unknown(noun: str, came: str, known: Collection[str]) -> str:
    """Say that a word is unknown, which ones are known, and which one was perhaps meant."""
    words = ", ".join(sorted(known)) or "none"
    return f"unknown {noun} {came!r}; known: {words}{near_miss(came, known)}"


def parse_toml(content: bytes, label: str) -> dict[str, Any]:
    """Parse the bytes of a TOML file; ``label`` names the file in the message.

    Raises:
        ConfigurationError: the file is no UTF-8 or no TOML, with line and column.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigurationError(
            f"{label}: line {line}, column {column}: byte 0x{content[error.start]:02x} is no UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(?P<what>.*) \(at (?P<where>.*)\)", str(error), flags=re.DOTALL)
        what, where = (found["what"], found["where"]) if found else (str(error), "somewhere")
        raise ConfigurationError(f"{label}: {where}: no TOML: {what}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{label}: no TOML that can be read: nested too deep") from error


def dotted(location: Iterable[int | str]) -> str:
    """Write a place in a file as its reader would: ``wires.can0.bitrate``, ``steps[2].hold_s``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


def mistakes_of(
    model: type[BaseModel],
    table: Mapping[str, Any],
    label: str,
    at: Location = (),
) -> list[str]:
    """Every mistake of a table against a model, in words; empty where there is none.

    Args:
        model: what the table should be.
        table: as TOML gave it.
        label: the file's name.
        at: where in the file the table stands.
    """
    try:
        _validate(model, table)
    except ValidationError as error:
        schema = model.model_json_schema()
        # The address of pydantic's page says nothing to whoever mends a rig file.
        details = error.errors(include_url=False)
        return [
            f"{label}: {line}"
            for detail in details
            if not _is_echo(detail)
            for line in _in_words(detail, schema, table, at).split("\n")
        ]
    return []


def read_part(model: type[PartT], table: Mapping[str, Any], label: str, at: Location = ()) -> PartT:
    """Validate a table.

    Raises:
        ConfigurationError: with every mistake.
    """
    try:
        return _validate(model, table)
    except ValidationError:
        raise ConfigurationError(*mistakes_of(model, table, label, at)) from None


def _validate(model: type[PartT], table: Mapping[str, Any]) -> PartT:
    """Validate as the model wants it: a strict one knows TOML's arrays as tuples."""
    is_strict = bool(model.model_config.get("strict"))
    return model.model_validate(_with_tuples(table) if is_strict else table)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_with_tuples(entry) for entry in value)
    return value


def _is_echo(detail: ErrorDetails) -> bool:
    """Whether an array is too short only because its entries, which are told by themselves, do not count."""
    came = detail["input"]
    return (
        detail["type"] == "too_short"
        and isinstance(came, Sequence | Mapping)
        and len(came) >= detail.get("ctx", {})["min_length"]
    )


def _in_words(detail: ErrorDetails, schema: Mapping[str, Any], table: Mapping[str, Any], at: Location) -> str:
    """One of pydantic's findings; a model that compares its fields may have found several, a line each."""
    location = _without_tags(detail["loc"], table)
    key, came, context = dotted((*at, *location)), detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            wanted = _wanted(_schema_at(schema, location, table))
            return f"{key} is missing" + (f"; allowed: {wanted}" if wanted else "")
        case "extra_forbidden":
            allowed = sorted(_schema_at(schema, location[:-1], table).get("properties", {}))
            words = f"no such key; allowed here: {', '.join(allowed) or 'none'}"
            return f"{key} = {_short(came)}: {words}{near_miss(str(location[-1]), allowed)}"
        case "union_tag_not_found":
            tags = _schema_at(schema, location, table).get("discriminator", {}).get("mapping", {})
            return f"{key}.{_tag_key(context)} is missing; allowed: {', '.join(sorted(tags))}"
        case "union_tag_invalid":
            return _not_a_word(f"{key}.{_tag_key(context)}", context["tag"], context["expected_tags"])
        case "literal_error" | "enum":
            return _not_a_word(key, came, context["expected"])
        case kind:
            return _as_pydantic_says(key, came, detail, is_own=kind == "value_error")


def _tag_key(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")


def _not_a_word(key: str, came: object, expected: object) -> str:
    """A value that is none of a few; pydantic lists them as text, words in quotes."""
    words = re.findall(r"'([^']*)'", str(expected))
    return f"{key} = {_short(came)}: allowed: {', '.join(words) or expected}{near_miss(str(came), words)}"


def _as_pydantic_says(key: str, came: object, detail: ErrorDetails, *, is_own: bool) -> str:
    """Pydantic's own sentence, or that of one of our validators, in the words of TOML."""
    said = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] in {"too_short", "too_long"}:
        bound, more_or_less = (
            ("min_length", "more") if detail["type"] == "too_short" else ("max_length", "fewer")
        )
        count = detail["ctx"][bound]
        said = f"{count} {'entry' if count == 1 else 'entries'} or {more_or_less}"
    said = re.sub(r"a valid dictionary or instance of \w+", "a table", said)
    for pydantic_word, word in _WORDS.items():
        said = said.replace(pydantic_word, word)
    if isinstance(came, Mapping) or "[key]" in detail["loc"]:
        return "\n".join(f"{key}: {line}" if key else line for line in said.split("\n"))
    return f"{key} = {_short(came)}: {'' if is_own else 'allowed: '}{said}"


_WORDS = {
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid string": "a text",
    "a valid boolean": "true or false",
    "a valid tuple": "an array",
    "a valid list": "an array",
    "a valid dictionary or object to extract fields from": "a table",
    "a valid dictionary": "a table",
    "String should have at least 1 character": "a text that is not empty",
    "a valid date": "a date, for example 2027-03-31, without quotes",
}
"""What pydantic calls a value, and what a TOML file calls it."""


def _short(value: Any) -> str:
    """Write a value as TOML would, on one line."""
    text = _value_text(value) if _is_toml(value) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_tags(location: Location, table: Mapping[str, Any]) -> Location:
    """Take out what pydantic adds to a place: the tag of a union, ``[key]`` after a bad key."""
    kept: list[int | str] = []
    here: Any = table
    for step in location:
        if step == "[key]":
            continue
        if isinstance(here, Mapping) and step not in here and here.get("kind") == step:
            continue
        kept.append(step)
        if (isinstance(here, Mapping) and step in here) or (
            isinstance(here, Sequence) and isinstance(step, int) and step < len(here)
        ):
            here = here[step]  # type: ignore[index]
        else:
            here = None
    return tuple(kept)


def _schema_at(schema: Mapping[str, Any], location: Location, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON schema of one place of a table; empty where the schema does not say."""
    here, value = _resolved(schema, schema, table), cast("Any", table)
    for step in location:
        if isinstance(step, int):
            place = here.get("items", {})
            value = value[step] if isinstance(value, list | tuple) and step < len(value) else None
        else:
            further = here.get("additionalProperties")
            place = here.get("properties", {}).get(step, further if isinstance(further, Mapping) else {})
            value = value.get(step) if isinstance(value, Mapping) else None
        here = _resolved(place, schema, value)
    return here


def _resolved(place: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """Follow a reference, the tag of a union, and the one table out of ``a table or nothing``."""
    if "$ref" in place:
        return _resolved(schema["$defs"][place["$ref"].removeprefix("#/$defs/")], schema, value)
    if "discriminator" in place and isinstance(value, Mapping):
        tag = value.get(place["discriminator"]["propertyName"])
        of_tag = place["discriminator"]["mapping"].get(tag) if isinstance(tag, str) else None
        return place if of_tag is None else _resolved({"$ref": of_tag}, schema, value)
    real = [option for option in place.get("anyOf", ()) if option.get("type") != "null"]
    return _resolved(real[0], schema, value) if len(real) == 1 else place


def _wanted(place: Mapping[str, Any]) -> str:
    """What a place takes, in a few words."""
    if "enum" in place:
        return ", ".join(map(str, place["enum"]))
    if "const" in place:
        return str(place["const"])
    nouns = {
        "number": "a number",
        "integer": "a whole number",
        "string": "a text",
        "boolean": "true or false",
        "object": "a table",
        "array": "an array",
    }
    noun = nouns.get(place.get("type", ""), "")
    bounds = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    limits = " and ".join(f"{word} {place[bound]}" for bound, word in bounds.items() if bound in place)
    return f"{noun} {limits}".strip()


def _is_toml(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_toml(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return all(_is_toml(entry) for entry in value)
    return isinstance(value, bool | int | float | str | dt.date | dt.time)


def numbers(value: Any, at: Location = ()) -> dict[str, float]:
    """Every number of a table by its dotted key; what is yes or no is no number."""
    entries: Iterable[tuple[int | str, Any]]
    match value:
        case bool():
            return {}
        case int() | float():
            return {dotted(at): float(value)}
        case Mapping():
            entries = value.items()
        case list() | tuple():
            entries = enumerate(value)
        case _:
            return {}
    return {key: number for step, entry in entries for key, number in numbers(entry, (*at, step)).items()}


def toml_text(table: Mapping[str, Any]) -> str:
    """Write a table as TOML, sub-tables last; what ``tomllib`` reads from it is equal.

    Raises:
        TypeError: a value that TOML has no word for.
    """
    return "\n".join(_table_lines(table, ())).strip("\n") + "\n"


def _table_lines(table: Mapping[str, Any], at: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_key_text(key)} = {_value_text(value)}" for key, value in plain.items()]
    if at and (lines or len(plain) == len(table)):
        lines.insert(0, f"\n[{'.'.join(map(_key_text, at))}]")
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _table_lines(value, (*at, key))
    return lines


def _key_text(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string_text(key)


def _string_text(text: str) -> str:
    # JSON's escapes are TOML's too; only DEL stands bare in JSON and may not in TOML (toml.io 1.0, String).
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value_text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string_text(value)
        case int() | float():
            return repr(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case Mapping():
            return "{" + ", ".join(f"{_key_text(k)} = {_value_text(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value_text, value)) + "]"
        case _:
            raise TypeError(f"TOML has no word for {value!r} ({type(value).__name__})")
