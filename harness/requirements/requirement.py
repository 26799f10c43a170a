"""One limit as data, and what becomes of it at one rig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from harness.errors import ConfigurationError
from harness.requirements.units import si_unit, to_si, unit_of_name


class Rule(Enum):
    """How a value and its uncertainty become a verdict.

    ``SIMPLE`` compares the value with the limit, as certifiers do unless the standard says otherwise
    (ILAC-G8:09/2019, IEC Guide 115). ``GUARD_BAND`` tightens the limit by ``guard_factor`` standard
    uncertainties: for a maker's own limits. ``STANDARD`` widens it by the tolerance that the standard
    itself grants, which already contains the uncertainty of the test.
    """

    SIMPLE = "simple"
    GUARD_BAND = "guard_band"
    STANDARD = "standard"


class Label(Enum):
    """Where a number was seen."""

    SEEN = "S"
    SEEN_SECOND_HAND = "S2"
    MEMORY = "M"
    CALCULATED = "C"
    RUN = "R"
    OWN = "own"


_LABEL_WORDS: Mapping[Label, str] = {
    Label.SEEN: "seen in open code",
    Label.SEEN_SECOND_HAND: "seen second-hand",
    Label.MEMORY: "from memory",
    Label.CALCULATED: "calculated",
    Label.RUN: "found by running code",
    Label.OWN: "own limit",
}


@dataclass(frozen=True, slots=True)
class Version:
    """Which text a requirement stands for; goes into the record beside each verdict.

    Attributes:
        family: the name that plans use, without edition (``jeac9701``).
        standard: as the publisher writes it.
        edition: year or number.
        file: name of the requirement file.
        sha256: of the file's bytes, in hex.
    """

    family: str
    standard: str
    edition: str
    file: str
    sha256: str

    @property
    def id(self) -> str:
        """What the ids of its requirements begin with (``jeac9701_2024``)."""
        return self.file.removesuffix(".toml")


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a limit: a number, one for each nominal frequency, or one that a file will give.

    Attributes:
        value: the number, where it is one.
        by_f0: the number by nominal frequency in Hz, where it differs.
        from_product: key in the product's or the site's file, such as ``limits.rte_ac_min``.
        times: factor on the number that the file gives.
    """

    value: float | None = None
    by_f0: Mapping[int, float] = field(default_factory=dict)
    from_product: str = ""
    times: float = 1.0

    def at(self, f0_hz: float, given: Mapping[str, float], requirement: str) -> float:
        """Give the number, still in the unit of the standard.

        Raises:
            ConfigurationError: the file has no such key, or there is no number for this frequency.
        """
        if self.value is not None:
            return self.value
        if self.from_product:
            if self.from_product not in given:
                raise ConfigurationError(
                    f"requirement {requirement} takes its limit from {self.from_product!r},"
                    " which neither product nor site file gives;"
                    f" given: {', '.join(sorted(given)) or 'nothing'}"
                )
            return given[self.from_product] * self.times
        if round(f0_hz) not in self.by_f0:
            allowed = ", ".join(f"{key} Hz" for key in sorted(self.by_f0))
            raise ConfigurationError(
                f"requirement {requirement} has no number for {f0_hz:g} Hz; it has: {allowed}"
            )
        return self.by_f0[round(f0_hz)]


@dataclass(frozen=True, slots=True)
class Limits:
    """A requirement at one rig, in SI.

    Attributes:
        minimum: lowest allowed value; None where there is none.
        maximum: highest allowed value; None where there is none.
        unit: SI unit of both.
        tolerance: what the standard's own decision rule grants beyond each side, in ``unit``.
        written: the limit as the standard writes it (``at most 3 cycles``).
    """

    minimum: float | None
    maximum: float | None
    unit: str
    tolerance: float
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A limit as data; ``resolve`` makes numbers in SI of it.

    Attributes:
        id: ``<file>.<key>``.
        quantity: what is limited, in words.
        minimum: lower bound; None where the sense has none.
        maximum: upper bound.
        unit: as the standard writes it (see ``units.UNITS``).
        of: key of the nominal value that ``pu`` or ``%`` is a share of; empty for a plain ratio.
        clause: of the standard; empty where it is not known.
        rule: the decision rule.
        guard_factor: standard uncertainties by which ``GUARD_BAND`` tightens the limit.
        tolerance: what ``STANDARD`` grants beyond the limit.
        tolerance_unit: its unit.
        label: where the number was seen.
        source: in words.
        verified_by: the person who read the number in the standard; empty until somebody did.
        version: which text it stands for.
    """

    id: str
    quantity: str
    minimum: Bound | None
    maximum: Bound | None
    unit: str
    of: str
    clause: str
    rule: Rule
    guard_factor: float
    tolerance: float
    tolerance_unit: str
    label: Label
    source: str
    verified_by: str
    version: Version

    @property
    def is_verified(self) -> bool:
        """Whether a person read the number in its text; a maker's own limit has no other text."""
        return bool(self.verified_by) or self.label is Label.OWN

    @property
    def provenance(self) -> str:
        """Standard, edition, clause and how far the number may be trusted, for one line of a report."""
        clause = f", {self.clause}" if self.clause else ""
        where = f"{self.version.standard}:{self.version.edition}{clause}"
        if self.label is Label.OWN:
            return f"{where}, own limit"
        who = f"verified by {self.verified_by}" if self.verified_by else "unverified"
        return f"{where}, {_LABEL_WORDS[self.label]}, {who}"

    def resolve(self, f0_hz: float, given: Mapping[str, float]) -> Limits:
        """Make the limit a pair of SI numbers.

        Args:
            f0_hz: nominal frequency of the rig.
            given: nominal values and product limits by dotted key (``nominal.voltage_v``).

        Raises:
            ConfigurationError: a key that the limit needs is not given.
        """
        low = None if self.minimum is None else self.minimum.at(f0_hz, given, self.id)
        high = None if self.maximum is None else self.maximum.at(f0_hz, given, self.id)
        share = 1.0
        unit = si_unit(self.unit)
        if self.of:
            if self.of not in given:
                raise ConfigurationError(
                    f"requirement {self.id} is a share of {self.of!r}, which is not given;"
                    f" given: {', '.join(sorted(given)) or 'nothing'}"
                )
            share = given[self.of]
            unit = unit_of_name(self.of)
        tolerance = to_si(self.tolerance, self.tolerance_unit, f0_hz) if self.tolerance else 0.0
        if self.tolerance and self.tolerance_unit == self.unit:
            tolerance *= share
        minimum = None if low is None else to_si(low, self.unit, f0_hz) * share
        maximum = None if high is None else to_si(high, self.unit, f0_hz) * share
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ConfigurationError(
                f"requirement {self.id} resolves to nothing:"
                f" at least {minimum:g} and at most {maximum:g} {unit}"
            )
        return Limits(minimum, maximum, unit, tolerance, self._written(low, high))

    def _written(self, low: float | None, high: float | None) -> str:
        if self.unit == "bool":
            return "true" if low == 1.0 else "false"
        unit = {"1": ""}.get(self.unit, f" {self.unit}") + (f" of {self.of}" if self.of else "")
        if low is None:
            words = f"at most {high:g}{unit}"
        elif high is None:
            words = f"at least {low:g}{unit}"
        elif low == high:
            words = f"{low:g}{unit}"
        else:
            words = f"{low:g} to {high:g}{unit}"
        if self.rule is Rule.STANDARD and self.tolerance:
            words += f", ±{self.tolerance:g} {self.tolerance_unit} granted"
        if self.rule is Rule.GUARD_BAND:
            words += f", guarded by {self.guard_factor:g} u"
        return words
