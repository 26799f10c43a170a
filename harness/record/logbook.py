"""The logbook of a run, the station's key that signs it, and the verification of a whole run folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError, ConfigurationError
from harness.record.canonical import canonical, plain
from harness.record.journal import Event
from harness.record.record import SCHEMA, Record, broken_links, read_document, record_of, spell_document

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RECORD = "record.json"
LOGBOOK = "logbook.json"
JOURNAL = "journal.jsonl"
_WRITTEN_AFTER = frozenset({RECORD, LOGBOOK, "report.html", "junit.xml"})
"""Files that are made of the sealed ones, and can be made again: ``harness.report.drawn`` compares them."""

_VERSIONED = (
    "rackproof",
    "numpy",
    "pyarrow",
    "pydantic",
    "pymodbus",
    "pysunspec2",
    "pytest",
    "pytest-asyncio",
    "python-can",
    "PyVISA",
    "pyvisa-py",
    "cryptography",
)


STATION_KEY = "station_ed25519.pem"


def config_folder() -> Path:
    """Where the station keeps its key: ``$XDG_CONFIG_HOME/rackproof``, or ``~/.config/rackproof``."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "rackproof"


def versions() -> dict[str, str]:
    """Give the versions of Python and of what values pass through; a library that is missing is left out."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def station_key() -> Ed25519PrivateKey:
    """Load the station's private key, or make it at first use, readable by its owner only.

    Raises:
        ConfigurationError: others can read it, or the file is no Ed25519 key.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only for sealing
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

    path = config_folder() / STATION_KEY
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"{path}: others may read it, so that anybody could sign; allowed mode 0600: make a new key"
            ) from None
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except ValueError as error:
            raise ConfigurationError(f"{path}: no private key ({error})") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(
                f"{path}: {type(key).__name__} where an Ed25519 key is expected"
            ) from None
        return key
    key = Ed25519PrivateKey.generate()
    with os.fdopen(file, "wb") as stream:
        stream.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return key


def public_key_hex(key: Ed25519PrivateKey) -> str:
    """Give the public half, as 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def trusted_keys() -> frozenset[str]:
    """Public keys whose signatures count here: this station's, and each in ``trusted/*.pub`` (hex)."""
    found = {path.read_text().strip().lower() for path in (config_folder() / "trusted").glob("*.pub")}
    if (config_folder() / STATION_KEY).exists():
        found.add(public_key_hex(station_key()))
    return frozenset(found)


def file_digests(run_dir: Path) -> dict[str, str]:
    """Hash every file of a run that cannot be made again, by its path within the folder."""
    found: dict[str, str] = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if path.is_file() and not path.is_symlink() and name not in _WRITTEN_AFTER:
            found[name] = _file_digest(path)
    return found


def _file_digest(path: Path) -> str:
    import hashlib  # noqa: PLC0415 - the one place that hashes streams

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_logbook(
    run_dir: Path, record: Record, events: Sequence[Event], *, sealed: datetime, torn_bytes: int
) -> Mapping[str, Any]:
    """Write and sign ``logbook.json``.

    Args:
        run_dir: the run's folder, with ``record.json`` and traces in place.
        record: what was sealed.
        events: the journal; its first event says who, where and when.
        sealed: wall-clock time, with its zone.
        torn_bytes: how much of a torn last line was left out.
    """
    key = station_key()
    logbook = plain(events[0].body["logbook"])
    logbook |= {
        "schema": SCHEMA,
        "sealed": sealed.isoformat(timespec="milliseconds"),
        "plans": [event.body for event in events if event.kind == "wall"],
        "record_head": record.head,
        "seeded_faults": list(record.seeded_faults),
        "events": len(events),
        "is_complete": any(event.kind == "end" for event in events),
        "torn_bytes": torn_bytes,
        "files": file_digests(run_dir),
    }
    public = public_key_hex(key)
    logbook["signature"] = {
        "algorithm": "Ed25519 over canonical JSON of this logbook without its signature",
        "public_key": public,
        "value": key.sign(canonical(logbook)).hex(),
    }
    write_whole(run_dir / LOGBOOK, spell_document(logbook))
    return logbook  # type: ignore[no-any-return]  # out of JSON


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        BenchError: it could not be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BenchError(f"{path}: could not be written ({error.strerror or error})") from error


def verify(run_dir: Path, trusted: Collection[str] | None = None) -> tuple[str, ...]:
    """Check chain, files and signature of a sealed run; page and JUnit XML are not looked at.

    Args:
        run_dir: its folder.
        trusted: public keys (hex) whose signature counts; None takes ``trusted_keys()``.

    Returns:
        Everything that is wrong, a sentence each; empty for a run that is as it was sealed.
    """
    try:
        raw = read_document(run_dir / RECORD)
        logbook = read_document(run_dir / LOGBOOK)
        record = record_of(raw)
    except BenchError as error:
        return (str(error),)
    except (KeyError, TypeError) as error:
        return (f"{run_dir / RECORD}: not a record: {type(error).__name__} {error}",)
    wrong: list[str] = []
    for name, document in ((RECORD, raw), (LOGBOOK, logbook)):
        if spell_document(document) != (run_dir / name).read_bytes():
            wrong.append(f"{name}: not spelled as it was sealed (a key twice, or other white space)")
    try:
        wrong += broken_links(record)
    except (KeyError, TypeError, IndexError) as error:
        wrong.append(f"{RECORD}: its entries are no entries: {type(error).__name__} {error}")
    if logbook.get("record_head") != record.head:
        wrong.append(f"{LOGBOOK}: signs head {str(logbook.get('record_head'))[:12]}..., not that of {RECORD}")
    wrong += _wrong_files(run_dir, logbook.get("files", {}))
    wrong += _wrong_signature(logbook, trusted_keys() if trusted is None else trusted)
    return tuple(wrong)


def _wrong_files(run_dir: Path, sealed: Mapping[str, str]) -> list[str]:
    now = file_digests(run_dir)
    wrong = [f"{name}: is gone" for name in sorted(sealed.keys() - now.keys())]
    wrong += [f"{name}: was added after sealing" for name in sorted(now.keys() - sealed.keys())]
    wrong += [
        f"{name}: was changed after sealing: SHA-256 {now[name][:12]}..., sealed {sealed[name][:12]}..."
        for name in sorted(sealed.keys() & now.keys())
        if sealed[name] != now[name]
    ]
    return wrong


def _wrong_signature(logbook: Mapping[str, Any], trusted: Collection[str]) -> list[str]:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only for verifying
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - as above

    signature = logbook.get("signature")
    if not isinstance(signature, dict):
        return [f"{LOGBOOK}: has no signature"]
    public = str(signature.get("public_key"))
    unsigned = {key: value for key, value in logbook.items() if key != "signature"}
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(str(signature.get("value"))), canonical(unsigned))
    except (InvalidSignature, ValueError):
        return [
            f"{LOGBOOK}: changed after sealing: the signature by key {public[:12]}... is not of this text"
        ]
    if public.lower() not in trusted:
        folder = config_folder() / "trusted"
        hint = f"to trust it, put its 64 digits into {folder}/<station>.pub"
        return [f"{LOGBOOK}: signed by key {public[:12]}..., which is not trusted here; {hint}"]
    return []
