"""What holds for the project as a whole: what is packaged, what is loaded, what must not be written down."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.plans import PLAN_FIXTURES

from .conftest import LONGEST_FIRST

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PACKAGES = {"harness": "harness", "drivers": "drivers", "rackproof_fixtures": "fixtures"}
"""Installed name and folder."""


def folders_with_code() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            yield ".".join([package, *inside]), init.parent


def files_of_the_project() -> Iterator[Path]:
    """Everything but what .gitignore names, git's own folder, and links."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    ahead = [ROOT]
    while ahead:
        for path in ahead.pop().iterdir():
            if path.name == ".git" or path.is_symlink():
                continue
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
                continue
            if path.is_dir():
                ahead.append(path)
            else:
                yield path


def test_every_model_of_the_plant_says_what_it_does_not_model():
    """All but data, and the tools that models are made of."""
    not_models = {
        "__init__",
        "stated_error",
        "bms_spec",
        "converter_spec",
        "spec",
        "curves",
        "keyed",
        "lines",
        "timers",
    }
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "harness" / "plant").rglob("*.py")
        if path.stem not in not_models
        and "Not modelled" not in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    ]
    assert silent == []


def test_the_files_that_the_tests_begin_with_are_there():
    assert [name for name in LONGEST_FIRST if not (ROOT / "tests" / name).exists()] == []


def test_the_list_of_packages_is_the_folders():
    assert sorted(SETUPTOOLS["packages"]) == sorted(package for package, _ in folders_with_code())
    assert SETUPTOOLS["package-dir"] == PACKAGES


def test_every_folder_with_python_in_it_is_a_package():
    with_code = {path.parent for folder in PACKAGES.values() for path in (ROOT / folder).rglob("*.py")}
    assert with_code == {folder for _, folder in folders_with_code()}


def test_what_a_plan_may_ask_for_is_what_the_fixtures_give():
    given = {
        name
        for file in (ROOT / "fixtures").glob("*.py")
        for name in re.findall(
            r"^@pytest\w*\.fixture.*\n(?:async )?def (\w+)", file.read_text(), re.MULTILINE
        )
    }
    assert given | {"f0_hz"} == set(PLAN_FIXTURES)


def test_every_data_file_is_packaged():
    left_out = []
    for path in files_of_the_project():
        top = path.relative_to(ROOT).parts[0]
        if top not in PACKAGES.values() or path.suffix in {".py", ".md"}:
            continue
        owners = [(package, folder) for package, folder in folders_with_code() if path.is_relative_to(folder)]
        patterns = SETUPTOOLS["package-data"]
        if not any(
            path.relative_to(folder).match(pattern)
            for package, folder in owners
            for pattern in patterns.get(package, ())
        ):
            left_out.append(str(path.relative_to(ROOT)))
    assert left_out == []


def test_a_plan_knows_roles_and_fixtures_and_no_device():
    # testplans/ is no package, so import-linter does not see it.
    allowed = {"harness", "rackproof_fixtures", "pytest", "numpy", *sys.stdlib_module_names}
    found = []
    for path in (ROOT / "testplans").rglob("*.py"):
        names = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names.append(node.module or ".")
        found += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name in names
            if name.split(".")[0] not in allowed or name.startswith(("harness.wires", "harness.testing"))
        ]
    assert found == []


@pytest.mark.parametrize("module", ["harness.plugin", "harness.wires", "drivers", "rackproof_fixtures"])
def test_importing_loads_nothing_that_takes_long(module):
    heavy = {
        *("numpy", "pydantic", "pymodbus", "can", "cantools", "pyvisa", "pyvisa_py", "serial"),
        *("rich", "sqlalchemy", "pyarrow", "jinja2", "cryptography", "sunspec2"),
    }
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert module in done.stdout.split()
    assert heavy & set(done.stdout.split()) == set()


# Folders that exist on one machine; those that every Linux has (/dev, /proc, /usr) are not meant.
MACHINE_PATH = re.compile(r"(?<![\w.~}/:])/(?:home|root|Users|work|tmp|mnt|opt|srv|media)/\w|\b[A-Z]:\\\w")
PACKAGE_INDEX = re.compile(
    r"--(?:extra-)?index[-]url|--find[-]links|index[-_]url\s*="
    r"|https?://\S*(?:pypi\.|pythonhosted|/simple\b|artifactory|devpi|nexus)"
)


@pytest.mark.parametrize("forbidden", [MACHINE_PATH, PACKAGE_INDEX], ids=["machine path", "package index"])
def test_no_file_holds_what_is_true_of_one_machine_only(forbidden):
    found = []
    seen = 0
    for path in files_of_the_project():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        seen += 1
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if forbidden.search(line)
        ]
    assert found == []
    assert seen > 200  # it has looked


@pytest.mark.parametrize(
    ("text", "is_forbidden"),
    [
        ("see " + "/home" + "/ann/rig.toml", True),
        ("'/" + "tmp/x'", True),
        ("C:" + "\\Users\\ann", True),
        ("https://example.org" + "/home" + "/page", False),
        ("runs/" + "tmp/x", False),
        ("/proc/self/fd", False),
        ("pip install --index" + "-url x", True),
        ("https://" + "pypi" + ".org/project/pytest", True),
        ("https://docs.pytest.org", False),
    ],
)
def test_the_look_for_such_lines_finds_them(text, is_forbidden):
    assert bool(MACHINE_PATH.search(text) or PACKAGE_INDEX.search(text)) is is_forbidden
