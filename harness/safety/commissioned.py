"""What ``rackproof commission`` leaves: a signed, dated word that a rig was tried as its file stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.clock import wall_time
from harness.rig.rig_file import RigFile
from harness.safety.lease import state_folder


def fingerprint(rig: RigFile) -> str:
    """Give the hash of a rig file's content; comments and order do not count."""
    return hashlib.sha256(rig.model_dump_json().encode()).hexdigest()


def place_of(rig: RigFile) -> Path:
    """Give the file that holds a rig's commissioning."""
    return state_folder() / "commissioned" / f"{rig.name}-{fingerprint(rig)[:16]}.json"


def read_commissioning(rig: RigFile) -> Mapping[str, Any] | None:
    """Give what commissioning found; None where the rig, as its file stands, was never commissioned."""
    try:
        document: Mapping[str, Any] = json.loads(place_of(rig).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return document if document.get("rig_sha256") == fingerprint(rig) else None


def why_not_commissioned(rig: RigFile) -> str:
    """Say why a rig of hardware may not be armed; empty where it may."""
    document = read_commissioning(rig)
    how = f"run 'rackproof commission {rig.name} --person NAME' first"
    if document is None:
        return f"it was never commissioned as its file stands: {how}"
    failed = [each["name"] for each in document.get("checks", ()) if each.get("result") != "passed"]
    if failed:
        return f"commissioning did not pass: {', '.join(failed)}; mend that, and {how}"
    if str(document.get("valid_until", "")) < wall_time().isoformat():
        return f"its commissioning ended on {document.get('valid_until')}: {how}"
    return ""
