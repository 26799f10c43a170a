"""Walks drivers/ against the checklist in drivers/README.md, as far as a machine can see it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.rig.driver_folders import driver_names
from harness.rig.files import load_rig
from harness.rig.rig_file import options_of
from harness.rig.toml_file import Part, mistakes_of
from harness.roles import ROLES

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.name for path in (ROOT / "drivers").iterdir() if (path / "driver.py").exists())

EXEMPT: dict[tuple[str, str], str] = {}
"""(folder, rule) and why. It only shrinks: an exemption that is not needed any more is a failure."""

WIRES = {"can": "CAN", "modbus_tcp": "Modbus TCP", "visa": "VISA"}
LEVELS = {"never on hardware", "bench", "fleet"}
VENDORS = {"can", "pymodbus", "pyvisa", "serial"}


def imports_of(path: Path) -> Iterator[str]:
    """The full names of all that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def has_all_files(folder: str) -> Iterator[str]:
    for name in ("README.md", "__init__.py", "points.py", "driver.py", "emulator.py"):
        if not (ROOT / "drivers" / folder / name).is_file():
            yield f"drivers/{folder}/{name} is not there"


def shows_its_names(folder: str) -> Iterator[str]:
    package = importlib.import_module(f"drivers.{folder}")
    missing = {"Driver", "Emulator", "Options", "ROLE", "WIRE", "TRIED"} - set(package.__all__)
    if missing:
        yield f"does not show {sorted(missing)}"
        return
    if package.ROLE not in ROLES:
        yield f"ROLE {package.ROLE!r} is none of {sorted(ROLES)}"
    if package.WIRE not in WIRES:
        yield f"WIRE {package.WIRE!r} is none of {sorted(WIRES)}"
    if package.TRIED not in LEVELS:
        yield f"TRIED {package.TRIED!r} is none of {sorted(LEVELS)}"
    if not issubclass(package.Options, Part):
        yield "Options is no Part: not frozen, or it lets unknown keys or a text for a number pass"


def a_number_as_text(value: object) -> Iterator[tuple[str, object]]:
    """Give a table with each of its numbers as a text in turn, and where."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield "", str(value)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from ((f".{key}{at}", {**value, key: changed}) for at, changed in a_number_as_text(entry))
    elif isinstance(value, tuple):
        for place, entry in enumerate(value):
            before, after = value[:place], value[place + 1 :]
            for at, changed in a_number_as_text(entry):
                yield f"[{place}]{at}", (*before, changed, *after)


def takes_no_text_for_a_number(folder: str) -> Iterator[str]:
    """At any depth of its options, as lab1 has them, or as they come."""
    package = importlib.import_module(f"drivers.{folder}")
    of_lab1 = [device for device in load_rig("lab1", ROOT).devices.values() if device.driver == folder]
    options = options_of(of_lab1[0], package) if of_lab1 else package.Options()
    for at, table in a_number_as_text(options.model_dump()):
        if not mistakes_of(package.Options, table, ""):
            yield f"options{at} takes a text"


def fulfils_its_role(folder: str) -> Iterator[str]:
    package = importlib.import_module(f"drivers.{folder}")
    asked = {
        name for name, member in vars(ROLES[package.ROLE]).items() if callable(member) and name[0] != "_"
    }
    missing = {name for name in asked if not callable(getattr(package.Driver, name, None))}
    if missing:
        yield f"Driver lacks {sorted(missing)} of its role"


def has_its_tests(folder: str) -> Iterator[str]:
    for name in ("test_wire.py", "test_behaviour.py", "test_contract.py"):
        path = ROOT / "tests" / "drivers" / folder / name
        if not path.is_file() or not re.search(r"\b(def test_|class Test)", path.read_text(encoding="utf-8")):
            yield f"tests/drivers/{folder}/{name} has no test"


def emulator_does_not_know_the_driver(folder: str) -> Iterator[str]:
    package = f"drivers.{folder}"
    seen: set[str] = set()
    ahead = ["emulator"]
    while ahead:
        module = ahead.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports_of(ROOT / "drivers" / folder / f"{module}.py"):
            own = name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else None
            if own == "driver" or own in {"Driver", "Emulator", "Options"} or name == package:
                yield f"{module}.py, which the emulator stands on, imports {name}"
            elif own is not None and (ROOT / "drivers" / folder / f"{own}.py").exists():
                ahead.append(own)


def leaves_vendors_and_other_drivers_alone(folder: str) -> Iterator[str]:
    for path in (ROOT / "drivers" / folder).glob("*.py"):
        for name in imports_of(path):
            top, *rest = name.split(".")
            if top in VENDORS or (top == "drivers" and rest[0] != folder):
                yield f"{path.name} imports {name}"


def has_no_clock_of_its_own(folder: str) -> Iterator[str]:
    for path in (ROOT / "drivers" / folder).glob("*.py"):
        for name in imports_of(path):
            if name.split(".")[0] in {"time", "datetime", "threading"}:
                yield f"{path.name} imports {name}"


def is_in_the_tables(folder: str) -> Iterator[str]:
    package = importlib.import_module(f"drivers.{folder}")
    role = package.ROLE.replace("_", " ")
    row = f"| `{folder}` | {role} | {WIRES[package.WIRE]} | {package.TRIED} |"
    if row not in (ROOT / "drivers" / "README.md").read_text(encoding="utf-8"):
        yield f"drivers/README.md has no row {row}"
    if f"Tried: **{package.TRIED}**" not in (ROOT / "drivers" / folder / "README.md").read_text("utf-8"):
        yield f"README.md does not say 'Tried: **{package.TRIED}**'"


RULES: list[Callable[[str], Iterator[str]]] = [
    has_all_files,
    shows_its_names,
    takes_no_text_for_a_number,
    fulfils_its_role,
    has_its_tests,
    emulator_does_not_know_the_driver,
    leaves_vendors_and_other_drivers_alone,
    has_no_clock_of_its_own,
    is_in_the_tables,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_driver_keeps_the_checklist(folder, rule):
    found = list(rule(folder))
    if (folder, rule.__name__) in EXEMPT:
        assert found, f"{folder} keeps {rule.__name__} now: take its exemption away"
    else:
        assert found == []


def test_an_exemption_names_a_folder_and_a_rule():
    names = {(folder, rule.__name__) for folder in FOLDERS for rule in RULES}
    assert set(EXEMPT) <= names


def test_every_folder_is_a_driver_and_is_found():
    folders = [path.name for path in (ROOT / "drivers").iterdir() if path.is_dir() and path.name[0] != "_"]
    assert sorted(folders) == FOLDERS == driver_names()
    assert len(FOLDERS) >= 6
