"""The permission to energise a rig: given by a person, for a time, for one rig file and one product file.

A rig of hardware is armed only once it was commissioned as its file stands; an edit ends both.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from harness.clock import wall_time
from harness.errors import BenchError, Unsafe
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.safety.commissioned import fingerprint, why_not_commissioned
from harness.safety.lease import state_folder, state_kept_in

CHECKLIST = (
    "Rig file and product file name what stands on the rig.",
    "Nobody works on the rig, and the area is closed.",
    "The emergency stop was pressed and acted today.",
)
"""What the person who arms confirms."""

_LONGEST_MIN = 1440.0
"""A day: what was confirmed then is not known to hold any longer."""


def _place(rig: RigFile) -> Path:
    return state_folder("armed") / f"{rig.name}-{fingerprint(rig)[:16]}.json"


def arm(rig: RigFile, product: ProductFile, person: str, minutes: float) -> datetime:
    """Arm a rig with a product on it; gives the time at which it ends.

    Raises:
        Unsafe: it is not one that may be armed, nobody is named, or it would be armed for more than a day.
        BenchError: the permission cannot be written; there is none.
    """
    if not rig.emulated and (reason := why_not_commissioned(rig)):
        raise Unsafe(f"rig {rig.name} cannot be armed: {reason}")
    if not person.strip():
        raise Unsafe(f"rig {rig.name} cannot be armed: --person is empty; name who answers for it")
    if not 0.0 < minutes <= _LONGEST_MIN:
        raise Unsafe(
            f"rig {rig.name} cannot be armed: --minutes {minutes:g}; "
            f"allowed: above 0, at most {_LONGEST_MIN:g}"
        )
    until = wall_time() + timedelta(minutes=minutes)
    place = _place(rig)
    note = {
        "person": person,
        "until": until.isoformat(),
        "product": product.name,
        "product_sha256": fingerprint(product),
        "checklist": CHECKLIST,
    }
    with state_kept_in(place):
        place.write_text(json.dumps(note, indent=1) + "\n")
    return until


def disarm(rig: RigFile) -> None:
    """Take the permission back; nothing happens where there is none.

    Raises:
        BenchError: it cannot be taken away; it stands until it ends by itself.
    """
    place = _place(rig)
    with state_kept_in(place):
        place.unlink(missing_ok=True)


def arming_of(rig: RigFile, product: ProductFile, hazard: str, named: str) -> str:
    """Say why a plan of this hazard may not energise the rig now; empty where it may.

    Args:
        rig: as it stands now.
        product: on it.
        hazard: of the plan.
        named: the name or path that the rig was chosen by, and a product beside its own, as the command that
            would help has them.
    """
    how = f"a person must run 'rackproof arm {named} --person NAME --minutes N' first"
    try:
        note = json.loads(_place(rig).read_text())
        until = datetime.fromisoformat(note["until"])
        has_ended = wall_time() > until
        by, armed_for, is_for_it = (
            note["person"],
            note["product"],
            note["product_sha256"] == fingerprint(product),
        )
    except FileNotFoundError:
        return f"it is not armed, and the plan {hazard}: {how}"
    except (ValueError, KeyError, TypeError, OSError, BenchError) as error:
        return f"its arming cannot be read ({error}): {how}"
    if has_ended:
        return f"its arming by {by} ended at {until:%H:%M:%S}: {how}"
    if not is_for_it:
        return f"{by} armed it for product {armed_for} as its file stood, and not for {product.name}: {how}"
    return ""
