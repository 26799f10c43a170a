"""The folders under ``drivers/``, found by name and imported when a rig names them."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Callable
from typing import Any, Protocol, cast

from pydantic import BaseModel

from harness.errors import ConfigurationError
from harness.rig.toml_file import unknown


class DriverFolder(Protocol):
    """What a driver's folder shows.

    Attributes:
        ROLE: the word in ``harness.roles.ROLES`` that its Driver fulfils.
        WIRE: the kind of wire it speaks over.
        TRIED: how far it has been tried: ``never on hardware``, ``bench``, ``fleet``.
        Options: the model of the device's ``options`` in a rig file.
        Driver: called with name, wire, options and voice.
        Emulator: called with name, plant and options.
    """

    ROLE: str
    WIRE: str
    TRIED: str
    Options: type[BaseModel]
    Driver: Callable[..., Any]
    Emulator: Callable[..., Any]


FindDriver = Callable[[str], DriverFolder]
"""Look a driver's folder up; ConfigurationError says why there is none."""


def driver_names(package: str = "drivers") -> list[str]:
    """Names of the folders in the package of drivers."""
    # Named, since harness may not import what stands above it.
    folders = importlib.import_module(package)
    return sorted(module.name for module in pkgutil.iter_modules(folders.__path__) if module.ispkg)


def find_driver(name: str, package: str = "drivers") -> DriverFolder:
    """Import ``drivers.<name>``.

    Raises:
        ConfigurationError: there is no such folder, it does not import, or it lacks a part.
    """
    spec = importlib.util.find_spec(f"{package}.{name}") if name.isidentifier() else None
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        raise ConfigurationError(unknown("driver", name, driver_names(package)))
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as error:
        raise ConfigurationError(
            f"driver {name!r} does not import: {type(error).__name__}: {error}"
        ) from error
    parts = ("ROLE", "WIRE", "TRIED", "Options", "Driver", "Emulator")
    lacking = [part for part in parts if not hasattr(module, part)]
    if lacking:
        raise ConfigurationError(f"driver {name!r} lacks {', '.join(lacking)} in its __init__.py")
    return cast("DriverFolder", module)
