"""What ``rackproof commission`` leaves: a signed, dated word that a rig was tried as its file stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.clock import wall_time
from harness.record.canonical import canonical
from harness.record.logbook import public_key_hex, station_key, trusted_keys
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.safety.lease import state_folder, state_kept_in


def fingerprint(file: RigFile | ProductFile) -> str:
    """Give the hash of a rig or product file's content; comments and order do not count."""
    return hashlib.sha256(file.model_dump_json().encode()).hexdigest()


def place_of(rig: RigFile) -> Path:
    """Give the file that holds a rig's commissioning."""
    return state_folder("commissioned") / f"{rig.name}-{fingerprint(rig)[:16]}.json"


def read_commissioning(rig: RigFile) -> Mapping[str, Any] | None:
    """Give what commissioning found; None where the rig, as its file stands, was never commissioned."""
    try:
        document: Any = json.loads(place_of(rig).read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_of_it = isinstance(document, dict) and document.get("rig_sha256") == fingerprint(rig)
    return document if is_of_it else None


VALID_DAYS = 365
"""A year, as instruments are calibrated; ours."""

GOOD_RESULTS = frozenset({"passed", "not there"})
"""Of a check; a rig without a part needs no proof of it."""


def write_commissioning(rig: RigFile, person: str, checks: list[dict[str, Any]]) -> Path:
    """Sign what was found with the station's key, and keep it for this rig file as it stands.

    Raises:
        BenchError: it cannot be written.
    """
    key = station_key()
    now = wall_time()
    document: dict[str, Any] = {
        "rig": rig.name,
        "rig_sha256": fingerprint(rig),
        "person": person,
        "at": now.isoformat(timespec="seconds"),
        "valid_until": (now + timedelta(days=VALID_DAYS)).isoformat(timespec="seconds"),
        "checks": checks,
        "key": public_key_hex(key),
    }
    document["signature"] = key.sign(canonical(document)).hex()
    place = place_of(rig)
    with state_kept_in(place):
        place.write_text(json.dumps(document, indent=1) + "\n")
    return place


def _is_signed(document: Mapping[str, Any]) -> bool:
    """Whether a key that is trusted here signed the document as it stands."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where one is read
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    rest = {name: value for name, value in document.items() if name != "signature"}
    public = str(document.get("key", ""))
    if public not in trusted_keys():
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(str(document.get("signature", ""))), canonical(rest))
    except (InvalidSignature, ValueError):
        return False
    return True


def why_not_commissioned(rig: RigFile) -> str:
    """Say why a rig of hardware may not be armed; empty where it may."""
    document = read_commissioning(rig)
    how = f"run 'rackproof commission {rig.name} --person NAME' first"
    if document is None:
        return f"it was never commissioned as its file stands: {how}"
    if not _is_signed(document):
        return (
            f"its commissioning was changed after it was signed, or by a key that is not trusted here: {how}"
        )
    failed = [each["name"] for each in document.get("checks", ()) if each.get("result") not in GOOD_RESULTS]
    if failed:
        return f"commissioning did not pass: {', '.join(failed)}; mend that, and {how}"
    if str(document.get("valid_until", "")) < wall_time().isoformat():
        return f"its commissioning ended on {document.get('valid_until')}: {how}"
    return ""
