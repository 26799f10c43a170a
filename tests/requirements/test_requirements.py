"""Requirement files: checked whole, resolved at the rig, named by edition."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.requirements
from harness.errors import ConfigurationError
from harness.requirements import Label, Requirements, Rule
from harness.requirements.units import UNITS, si_unit, to_si, unit_of_name

HEAD = 'family = "house"\nstandard = "House"\nedition = "3"\n'
LOADED = Requirements.load()
ROW = '[requirement.{key}]\nquantity = "x"\n{limit}\nrule = "simple"\nlabel = "M"\nsource = "test"\n'


def house(tmp_path: Path, body: str, name: str = "house_3.toml", head: str = HEAD) -> Path:
    (tmp_path / name).write_text(head + body)
    return tmp_path


def row(key: str, limit: str) -> str:
    return ROW.format(key=key, limit=limit)


@pytest.fixture(scope="module")
def requirements() -> Requirements:
    return LOADED


def test_cycles_are_resolved_at_the_frequency_of_the_rig(requirements):
    step = requirements["jeac9701.frequency_step_duration"]
    assert step.resolve(50.0, {}).maximum == pytest.approx(0.060)
    assert step.resolve(60.0, {}).maximum == pytest.approx(0.050)
    assert step.resolve(60.0, {}).unit == "s"
    assert step.resolve(60.0, {}).written == "at most 3 cycles"


def test_limits_by_nominal_frequency(requirements):
    band = requirements["jeac9701.frequency_band"]
    assert (band.resolve(50.0, {}).minimum, band.resolve(50.0, {}).maximum) == (47.5, 51.5)
    assert (band.resolve(60.0, {}).minimum, band.resolve(60.0, {}).maximum) == (57.0, 61.8)
    with pytest.raises(
        ConfigurationError, match=r"jeac9701_2024.frequency_band has no number for 55 Hz.*50 Hz, 60 Hz"
    ):
        band.resolve(55.0, {})


def test_the_tolerance_that_a_standard_grants_is_resolved_too(requirements):
    """Two cycles: a 0.16 s trip is accepted up to 0.193 s at 60 Hz and 0.200 s at 50 Hz."""
    trip = requirements["ieee1547.uv2_clearing_2"]
    assert trip.rule is Rule.STANDARD
    at_60 = trip.resolve(60.0, {})
    at_50 = trip.resolve(50.0, {})
    assert at_60.maximum + at_60.tolerance == pytest.approx(0.1933, abs=1e-4)
    assert at_50.maximum + at_50.tolerance == pytest.approx(0.200)


def test_a_limit_from_the_product_file(requirements):
    rte = requirements["product_limits.rte_ac"]
    assert rte.resolve(60.0, {"limits.rte_ac_min": 0.88}).minimum == 0.88
    held = requirements["product_limits.charge_voltage"].resolve(50.0, {"limits.charge_voltage_v": 54.0})
    assert (held.minimum, held.maximum) == pytest.approx((53.73, 54.27))
    capacity = requirements["product_limits.capacity"]
    limits = capacity.resolve(50.0, {"limits.capacity_min_ah": 100.0, "limits.capacity_max_ah": 110.0})
    assert (limits.minimum, limits.unit) == (360_000.0, "C")


def test_a_key_that_the_product_file_lacks_is_named(requirements):
    with pytest.raises(ConfigurationError, match=r"rte_ac .*'limits.rte_ac_min'.*given: limits.other"):
        requirements["product_limits.rte_ac"].resolve(60.0, {"limits.other": 1.0})


def test_a_share_of_a_nominal_value_takes_its_unit(tmp_path):
    folder = house(tmp_path, row("low", 'min = 0.9\nunit = "pu"\nof = "nominal.voltage_v"'))
    low = Requirements.load(folder)["house.low"]
    assert low.resolve(50.0, {"nominal.voltage_v": 115.0}).minimum == pytest.approx(103.5)
    assert low.resolve(50.0, {"nominal.voltage_v": 115.0}).unit == "V"
    with pytest.raises(ConfigurationError, match=r"share of 'nominal.voltage_v'"):
        low.resolve(50.0, {})


def test_the_edition_is_found_and_kept(requirements):
    item = requirements["jeac9701.sag_20_restore"]
    assert item.id == "jeac9701_2024.sag_20_restore"
    assert requirements["jeac9701_2024.sag_20_restore"] is item
    assert (item.version.standard, item.version.edition) == ("JEAC 9701", "2024")


def test_two_editions_side_by_side_want_the_long_name(tmp_path):
    body = row("low", 'min = 1\nunit = "V"')
    house(tmp_path, body)
    house(tmp_path, body, "house_4.toml", HEAD.replace('"3"', '"4"'))
    both = Requirements.load(tmp_path)
    assert both["house_4.low"].version.edition == "4"
    assert "house.low" not in both
    with pytest.raises(ConfigurationError, match=r"house_3.low, house_4.low"):
        both["house.low"]
    assert both.version("house_4").edition == "4"
    with pytest.raises(ConfigurationError, match="'house' stands in several editions: say house_3, house_4"):
        both.version("house")


def test_a_near_miss_is_suggested(requirements):
    with pytest.raises(ConfigurationError, match=r"did you mean jeac9701.sag_20_restore"):
        requirements["jeac9701.sag20_restore"]
    with pytest.raises(ConfigurationError, match=r"no sequence 'lvrt_9'; there are: .*lvrt_2"):
        requirements.sequence("lvrt_9")


def test_version_is_the_hash_of_the_file(requirements):
    folder = Path(harness.requirements.__file__).parent
    for version in requirements.versions():
        assert version.sha256 == hashlib.sha256((folder / version.file).read_bytes()).hexdigest()


def test_all_mistakes_of_all_files_at_once(tmp_path):
    house(
        tmp_path,
        row("nothing", 'unit = "V"')
        + row("unknown_unit", 'max = 1\nunit = "furlong"')
        + row("upside_down", 'min = 2\nmax = 1\nunit = "V"')
        + row("no_bool", 'min = 1\nmax = 1\nunit = "bool"')
        + row("stranger", 'min = 1\nunit = "V"\ncolour = "red"')
        + row("unguarded", 'min = 1\nunit = "V"').replace('"simple"', '"guard_band"'),
    )
    house(tmp_path, "this is no TOML", "house_4.toml")
    with pytest.raises(ConfigurationError) as caught:
        Requirements.load(tmp_path)
    text = "\n".join(caught.value.mistakes)
    for key in ("nothing", "unknown_unit", "upside_down", "no_bool", "stranger.colour", "unguarded"):
        assert f"house_3.toml: requirement.{key}" in text
    assert "house_4.toml" in text
    assert len(caught.value.mistakes) == 7


def test_a_sequence_that_does_not_add_up_is_refused(tmp_path):
    folder = Path(harness.requirements.__file__).parent
    text = (folder / "ieee1547_1_2020.toml").read_text()
    wrong = text.replace("duration_s = 2.68", "duration_s = 2.86").replace(
        'family = "ieee1547_1"', 'family = "house"'
    )
    (tmp_path / "house.toml").write_text(wrong)
    with pytest.raises(ConfigurationError, match=r"house.toml: sequence.lvrt_2: .*add up to 288.36 s"):
        Requirements.load(tmp_path)


def test_a_file_is_named_after_its_family(tmp_path):
    house(tmp_path, row("low", 'min = 1\nunit = "V"'), "elsewhere.toml")
    with pytest.raises(ConfigurationError, match=r"elsewhere.toml: family 'house'"):
        Requirements.load(tmp_path)


def test_every_number_from_elsewhere_ships_unverified(requirements):
    """A person enters a name after reading the text; until then no acceptance rests on the number."""
    for item in requirements.values():
        assert item.verified_by == ""
        assert item.is_verified is (item.label is Label.OWN)


def test_all_of_jeac_is_marked_as_from_memory(requirements):
    labels = {item.label for key, item in requirements.items() if key.startswith("jeac9701")}
    assert labels == {Label.MEMORY}


def test_a_verified_number_says_who(tmp_path):
    folder = house(tmp_path, row("low", 'min = 1\nunit = "V"\nverified_by = "K. Mori"'))
    low = Requirements.load(folder)["house.low"]
    assert low.is_verified
    assert "verified by K. Mori" in low.provenance


def test_every_requirement_resolves_at_both_frequencies(requirements):
    for item in requirements.values():
        sides = [side for side in (item.minimum, item.maximum) if side]
        keys = dict.fromkeys([key for key in (item.of, *(side.from_product for side in sides)) if key], 1.0)
        for f0_hz in (50.0, 60.0):
            limits = item.resolve(f0_hz, keys)
            assert limits.minimum is not None or limits.maximum is not None, item.id
            assert limits.written


def test_trip_rows_agree_with_the_clearing_requirements(requirements):
    """The same number stands in a row and in a requirement; neither may drift."""
    for number, category in enumerate(("I", "II", "III"), start=1):
        for function, trip in requirements.trips(category).items():
            suffix = f"_{number}" if trip.unit == "pu" else ""
            item = requirements[f"ieee1547.{function.lower()}_clearing{suffix}"]
            assert item.resolve(60.0, {}).maximum == trip.clearing_s


def test_trip_functions_are_complete(requirements):
    assert set(requirements.trips("II")) == {"OV1", "OV2", "UV1", "UV2", "OF1", "OF2", "UF1", "UF2"}
    with pytest.raises(ConfigurationError, match="category 'IV'"):
        requirements.trips("IV")


@pytest.mark.parametrize("category", ["I", "II", "III"])
@given(voltage_pu=st.floats(0.0, 1.99))
def test_every_voltage_has_exactly_one_ride_through_row(category, voltage_pu):
    rows = [band for band in LOADED.bands(category) if band.contains(voltage_pu)]
    assert len(rows) == 1


def test_duty_of_category_2_at_its_corners(requirements):
    def duty_s(voltage_pu):
        return next(b for b in requirements.bands("II") if b.contains(voltage_pu)).duty_at_s(voltage_pu)

    assert duty_s(0.65) == pytest.approx(3.0)
    assert duty_s(0.88 - 1e-9) == pytest.approx(5.001)
    assert duty_s(0.6499) == 0.32
    assert duty_s(0.4499) == 0.16
    assert duty_s(0.29) is None
    assert duty_s(1.0) == float("inf")


@given(st.sampled_from(sorted(UNITS - {"degC"})), st.floats(1e-6, 1e6), st.sampled_from([50.0, 60.0]))
def test_units_are_proportional(unit, value, f0_hz):
    assert to_si(2.0 * value, unit, f0_hz) == pytest.approx(2.0 * to_si(value, unit, f0_hz))
    assert si_unit(si_unit(unit)) == si_unit(unit) if si_unit(unit) in UNITS else si_unit(unit) == "1/s"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("inverter.ac_power_w", "W"),
        ("bms.soc", "1"),
        ("bms.temperature_degc", "degC"),
        ("nominal.voltage_v", "V"),
        ("inverter.reactive_power_var", "var"),
        ("v", "1"),
    ],
)
def test_the_suffix_of_a_name_is_its_unit(name, unit):
    assert unit_of_name(name) == unit
