"""What the rig file says about one analyzer: which element measures which node, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from drivers.yokogawa_wt1800e import points
from harness.rig.toml_file import Part

Node = Literal["grid_ac", "pcs_ac", "load_ac", "battery_dc"]


class Wiring(Part):
    """How one node is connected.

    Attributes:
        elements: in phase order; one, or three neighbours for three phases with neutral.
        sign: -1 where the element counts power out of the battery (at load_ac: into the load) negative.
        u_range_v: voltage range.
        i_range_a: current range at the element's terminals, behind the current sensor.
        element_type: 5 or 50, what the element's current input is made for.
        ct_ratio: primary ampere for each ampere at the element.
        sensor_of_reading: limit of the current sensor's error, a fraction of the reading.
        balanced_phases: 3 where one element stands for three phases that are taken to be alike.
    """

    elements: Annotated[tuple[int, ...], Field(min_length=1, max_length=3)]
    sign: Literal[1, -1] = 1
    u_range_v: float
    i_range_a: float
    element_type: Literal[5, 50] = 50
    ct_ratio: float = Field(default=1.0, ge=0.0001, le=99999.9999)
    sensor_of_reading: float = Field(default=0.0, ge=0.0, lt=0.1)
    balanced_phases: Literal[1, 3] = 1

    @model_validator(mode="after")
    def _is_possible(self) -> Wiring:
        if any(not 1 <= element <= 6 for element in self.elements):
            raise ValueError(f"elements = {list(self.elements)}: 1 to 6 is allowed")
        first = self.elements[0]
        if self.elements not in {(first,), (first, first + 1, first + 2)}:
            raise ValueError(
                f"elements = {list(self.elements)}: one element, or three neighbours in order, is allowed"
            )
        if self.balanced_phases > 1 and len(self.elements) > 1:
            raise ValueError("balanced_phases = 3 is for a node with one element")
        if self.u_range_v not in points.VOLTAGE_RANGES_V:
            raise ValueError(f"u_range_v = {self.u_range_v:g}: one of {points.VOLTAGE_RANGES_V} is allowed")
        ranges = points.CURRENT_RANGES_A[self.element_type]
        if self.i_range_a not in ranges:
            raise ValueError(
                f"i_range_a = {self.i_range_a:g}: one of {ranges} on a {self.element_type} A element"
            )
        return self

    @property
    def current_range_a(self) -> float:
        """Range in ampere of the conductor."""
        return self.i_range_a * self.ct_ratio

    @property
    def power_range_w(self) -> float:
        """Range of the node's power; all elements together (IM WT1801-01EN, power range)."""
        return self.u_range_v * self.current_range_a * len(self.elements) * self.balanced_phases


class Options(Part):
    """The ``options`` table of an analyzer.

    Attributes:
        nodes: how each node of the rig is connected.
        update_interval_s: one of the instrument's steps.
        installed_elements: how many elements the instrument has.
        is_older_than_six_months: whether its last calibration is: the share of the reading grows.
    """

    nodes: Annotated[dict[Node, Wiring], Field(min_length=1)]
    update_interval_s: float = 1.0
    installed_elements: int = Field(default=6, ge=1, le=6)
    is_older_than_six_months: bool = True

    @model_validator(mode="after")
    def _elements_are_free(self) -> Options:
        if self.update_interval_s not in points.UPDATE_INTERVALS_S:
            raise ValueError(
                f"update_interval_s = {self.update_interval_s:g}:"
                f" one of {points.UPDATE_INTERVALS_S} is allowed"
            )
        used: dict[int, str] = {}
        for node, wiring in self.nodes.items():
            for element in wiring.elements:
                if element in used:
                    raise ValueError(
                        f"element {element} measures {used[element]} and {node}: one node an element"
                    )
                if element > self.installed_elements:
                    raise ValueError(f"{node}: element {element} of {self.installed_elements} installed ones")
                used[element] = node
        if self.nodes.get("battery_dc") and len(self.nodes["battery_dc"].elements) > 1:
            raise ValueError("battery_dc has one element")
        return self

    @property
    def measured_nodes(self) -> list[str]:
        """Nodes of the rig that it sees."""
        return sorted(self.nodes)

    def wiring_units(self) -> list[str]:
        """The wiring units in element order, as ``:INPut:WIRing`` takes them."""
        triples = {wiring.elements[0] for wiring in self.nodes.values() if len(wiring.elements) == 3}
        units = []
        element = 1
        while element <= self.installed_elements:
            units.append("P3W4" if element in triples else "P1W2")
            element += 3 if element in triples else 1
        return units

    def element_of(self, node: str) -> str:
        """What the numeric items call the node: its element, or the sum of its wiring unit."""
        elements = self.nodes[node].elements  # type: ignore[index]  # checked by the caller
        if len(elements) == 1:
            return str(elements[0])
        firsts = sorted(wiring.elements[0] for wiring in self.nodes.values() if len(wiring.elements) == 3)
        return ("SIGMA", "SIGMB")[firsts.index(elements[0])]
