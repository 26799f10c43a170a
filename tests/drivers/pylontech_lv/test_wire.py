"""Frames against published captures, another implementation of the bits, and anything at all."""

import contextlib

import cantools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pylontech_lv import Driver, Options, codec, points
from drivers.pylontech_lv.codec import Flags, Limits, Measurements, Requests, State, Versions
from harness.clock import run_virtual
from harness.errors import CodecError
from harness.readings import Voice
from harness.testing.loopback import can_pair

# Captures of Pylontech stacks, published by setfirelabs.com in "Pylontech battery CAN comms v1.2 vs v1.3".
# Values: the page's own where it gives them, else counted by hand from the layouts in points.py.
V12 = {
    0x351: "1402C012C012C201",
    0x355: "58005E00",
    0x356: "7A13F2FE6B01",
    0x359: "0000000006504E",
    0x35C: "C000",
    0x35E: "50594C4F4E202020",
}
V13 = {
    0x351: "1002C012C012C201",
    0x355: "540060000000",
    0x356: "7B13E9FE6B01",
    0x35A: "0000000000000000",
    0x35E: "50594C4F4E202020",
    0x35F: "4C4901033C02AA00",
}

# The same facts in another notation, read by cantools: signals by start bit, length, sign and factor.
DBC = """
VERSION ""
NS_ :
BS_:
BU_: B
BO_ 849 L: 8 B
 SG_ cvl : 0|16@1+ (0.1,0) [0|0] "V" B
 SG_ ccl : 16|16@1- (0.1,0) [0|0] "A" B
 SG_ dcl : 32|16@1- (0.1,0) [0|0] "A" B
 SG_ dvl : 48|16@1+ (0.1,0) [0|0] "V" B
BO_ 853 S: 4 B
 SG_ soc : 0|16@1+ (1,0) [0|0] "%" B
 SG_ soh : 16|16@1+ (1,0) [0|0] "%" B
BO_ 854 M: 6 B
 SG_ u : 0|16@1- (0.01,0) [0|0] "V" B
 SG_ i : 16|16@1- (0.1,0) [0|0] "A" B
 SG_ t : 32|16@1- (0.1,0) [0|0] "degC" B
BO_ 857 P: 7 B
 SG_ a_over_voltage : 1|1@1+ (1,0) [0|0] "" B
 SG_ a_under_voltage : 2|1@1+ (1,0) [0|0] "" B
 SG_ a_over_temperature : 3|1@1+ (1,0) [0|0] "" B
 SG_ a_under_temperature : 4|1@1+ (1,0) [0|0] "" B
 SG_ a_over_current_discharge : 7|1@1+ (1,0) [0|0] "" B
 SG_ a_over_current_charge : 8|1@1+ (1,0) [0|0] "" B
 SG_ a_bms_internal : 11|1@1+ (1,0) [0|0] "" B
 SG_ w_over_voltage : 17|1@1+ (1,0) [0|0] "" B
 SG_ w_under_voltage : 18|1@1+ (1,0) [0|0] "" B
 SG_ w_over_temperature : 19|1@1+ (1,0) [0|0] "" B
 SG_ w_under_temperature : 20|1@1+ (1,0) [0|0] "" B
 SG_ w_over_current_discharge : 23|1@1+ (1,0) [0|0] "" B
 SG_ w_over_current_charge : 24|1@1+ (1,0) [0|0] "" B
 SG_ w_bms_internal : 27|1@1+ (1,0) [0|0] "" B
 SG_ modules : 32|8@1+ (1,0) [0|0] "" B
 SG_ p : 40|8@1+ (1,0) [0|0] "" B
 SG_ n : 48|8@1+ (1,0) [0|0] "" B
BO_ 858 A: 8 B
 SG_ a_general : 0|2@1+ (1,0) [0|0] "" B
 SG_ a_over_voltage : 2|2@1+ (1,0) [0|0] "" B
 SG_ a_under_voltage : 4|2@1+ (1,0) [0|0] "" B
 SG_ a_over_temperature : 6|2@1+ (1,0) [0|0] "" B
 SG_ a_under_temperature : 8|2@1+ (1,0) [0|0] "" B
 SG_ a_over_temperature_charge : 10|2@1+ (1,0) [0|0] "" B
 SG_ a_under_temperature_charge : 12|2@1+ (1,0) [0|0] "" B
 SG_ a_over_current_discharge : 14|2@1+ (1,0) [0|0] "" B
 SG_ a_over_current_charge : 16|2@1+ (1,0) [0|0] "" B
 SG_ a_contactor : 18|2@1+ (1,0) [0|0] "" B
 SG_ a_short_circuit : 20|2@1+ (1,0) [0|0] "" B
 SG_ a_bms_internal : 22|2@1+ (1,0) [0|0] "" B
 SG_ a_cell_imbalance : 24|2@1+ (1,0) [0|0] "" B
 SG_ w_general : 32|2@1+ (1,0) [0|0] "" B
 SG_ w_over_voltage : 34|2@1+ (1,0) [0|0] "" B
 SG_ w_under_voltage : 36|2@1+ (1,0) [0|0] "" B
 SG_ w_over_temperature : 38|2@1+ (1,0) [0|0] "" B
 SG_ w_under_temperature : 40|2@1+ (1,0) [0|0] "" B
 SG_ w_over_temperature_charge : 42|2@1+ (1,0) [0|0] "" B
 SG_ w_under_temperature_charge : 44|2@1+ (1,0) [0|0] "" B
 SG_ w_over_current_discharge : 46|2@1+ (1,0) [0|0] "" B
 SG_ w_over_current_charge : 48|2@1+ (1,0) [0|0] "" B
 SG_ w_contactor : 50|2@1+ (1,0) [0|0] "" B
 SG_ w_short_circuit : 52|2@1+ (1,0) [0|0] "" B
 SG_ w_bms_internal : 54|2@1+ (1,0) [0|0] "" B
 SG_ w_cell_imbalance : 56|2@1+ (1,0) [0|0] "" B
BO_ 860 R: 2 B
 SG_ force : 5|1@1+ (1,0) [0|0] "" B
 SG_ discharge : 6|1@1+ (1,0) [0|0] "" B
 SG_ charge : 7|1@1+ (1,0) [0|0] "" B
BO_ 863 V: 8 B
 SG_ kind : 0|16@1+ (1,0) [0|0] "" B
 SG_ major : 16|8@1+ (1,0) [0|0] "" B
 SG_ minor : 24|8@1+ (1,0) [0|0] "" B
 SG_ ah : 32|16@1+ (1,0) [0|0] "Ah" B
 SG_ tail : 48|16@1+ (1,0) [0|0] "" B
"""
OTHER = cantools.database.load_string(DBC, database_format="dbc", strict=True)

DECODERS = {
    points.LIMITS: codec.decode_limits,
    points.STATE: codec.decode_state,
    points.MEASUREMENTS: codec.decode_measurements,
    points.PROTECTIONS: codec.decode_protections,
    points.ALARMS: codec.decode_alarms,
    points.REQUESTS: codec.decode_requests,
    points.MAKER: codec.decode_maker,
    points.VERSIONS: codec.decode_versions,
}

protection_words = st.frozensets(st.sampled_from(sorted(points.PROTECTION_BITS)))
alarm_words = st.frozensets(st.sampled_from(sorted(points.ALARM_PLACES)))
tenths = st.integers(0, 0x7FFF).map(lambda n: n / 10)
limits = st.builds(Limits, tenths, tenths, tenths, st.none() | tenths)
measurements = st.builds(
    Measurements,
    st.integers(-0x8000, 0x7FFF).map(lambda n: n / 100),
    st.integers(-0x7FFF, 0x8000).map(lambda n: n / 10),
    st.integers(-0x8000, 0x7FFF).map(lambda n: n / 10),
)


def test_decodes_the_capture_of_version_1_2():
    data = {identifier: bytes.fromhex(text) for identifier, text in V12.items()}
    assert codec.decode_limits(data[0x351]) == Limits(53.2, 480.0, 480.0, 45.0)
    assert codec.decode_state(data[0x355]) == State(0.88, 0.94)
    assert codec.decode_measurements(data[0x356]) == Measurements(49.86, 27.0, 36.3)  # discharging
    assert codec.decode_protections(data[0x359]) == Flags(frozenset(), frozenset())
    assert codec.decode_requests(data[0x35C]) == Requests(
        is_charge_allowed=True, is_discharge_allowed=True, wants_charge_at_once=False
    )
    assert codec.decode_maker(data[0x35E]) == "PYLON"


def test_decodes_the_capture_of_version_1_3():
    data = {identifier: bytes.fromhex(text) for identifier, text in V13.items()}
    assert codec.decode_limits(data[0x351]) == Limits(52.8, 480.0, 480.0, 45.0)
    assert codec.decode_state(data[0x355]) == State(0.84, 0.96)
    assert codec.decode_measurements(data[0x356]) == Measurements(49.87, 27.9, 36.3)
    assert codec.decode_alarms(data[0x35A]) == Flags(frozenset(), frozenset())
    assert codec.decode_versions(data[0x35F]) == Versions(0x494C, 1, 3, 572)


def test_encodes_the_captures():
    assert codec.encode_limits(Limits(53.2, 480.0, 480.0, 45.0)).hex().upper() == V12[0x351]
    assert codec.encode_state(State(0.88, 0.94)).hex().upper() == V12[0x355]
    assert codec.encode_state(State(0.84, 0.96), length=6).hex().upper() == V13[0x355]
    assert codec.encode_measurements(Measurements(49.86, 27.0, 36.3)).hex().upper() == V12[0x356]
    nothing = Flags(frozenset(), frozenset())
    assert codec.encode_protections(nothing, 6).hex().upper() == V12[0x359]
    assert codec.encode_alarms(nothing, ()).hex().upper() == V13[0x35A]
    assert codec.encode_requests(Requests(True, True)).hex().upper() == V12[0x35C]
    assert codec.encode_maker("PYLON").hex().upper() == V12[0x35E]
    assert codec.encode_versions(Versions(0x494C, 1, 3, 572)).hex().upper()[:12] == V13[0x35F][:12]


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        (V12, (49.86, 27.0, 36.3, 0.88, 0.94, 53.2, True, "low-voltage BMS", "")),
        (V13, (49.87, 27.9, 36.3, 0.84, 0.96, 52.8, True, "type 0x494C", "1.3")),
    ],
    ids=["v1.2", "v1.3"],
)
def test_the_driver_reads_the_captures(capture, expected):
    async def main():
        async with can_pair() as (near, far):
            driver = Driver("bms", near, Options(), Voice("bms"))
            await driver.open()
            for identifier, text in capture.items():
                far.send(identifier, bytes.fromhex(text))
            identity = await driver.identity()
            found = (
                (await driver.voltage_v()).value,
                (await driver.current_a()).value,
                (await driver.temperature_degc()).value,
                (await driver.soc()).value,
                (await driver.soh()).value,
                (await driver.charge_voltage_limit_v()).value,
                (await driver.is_charge_allowed()).value,
                identity.model,
                identity.firmware,
            )
            assert identity.maker == "PYLON"
            assert (await driver.charge_current_limit_a()).value == 480.0
            assert (await driver.alarms()).value == (await driver.warnings()).value == frozenset()
            await driver.close()
            return found

    assert run_virtual(main) == expected


def test_an_alarm_is_the_low_bit_of_its_pair():
    """bsc_fw BB0_ALARM 00000001 and BB0_OK 00000010; 11 is reserved, and no alarm."""
    high_voltage = 0b01 << 2
    assert codec.decode_alarms(bytes([high_voltage, 0, 0, 0, 0, 0, 0, 0])).alarms == {"over_voltage"}
    assert codec.decode_alarms(bytes([0xAA] * 8)) == Flags(frozenset(), frozenset())
    assert codec.decode_alarms(bytes([0xFF] * 8)) == Flags(frozenset(), frozenset())


def test_what_is_supported_and_well_says_so():
    encoded = codec.encode_alarms(
        Flags(frozenset({"over_voltage"}), frozenset()), {"over_voltage", "general"}
    )
    assert encoded.hex() == "060000000a000000"


def test_an_unknown_word_goes_out_as_the_most_general():
    strange = Flags(frozenset({"flood"}), frozenset({"fire"}))
    assert codec.decode_protections(codec.encode_protections(strange, 1)).alarms == {"bms_internal"}
    assert codec.decode_alarms(codec.encode_alarms(strange, ())).warnings == {"general"}


def test_a_fine_state_of_charge_counts_where_it_agrees():
    assert codec.decode_state(bytes.fromhex("540060001321")) == State(0.8467, 0.96)
    assert codec.decode_state(bytes.fromhex("5400600013210000")) == State(0.8467, 0.96)
    assert codec.decode_state(bytes.fromhex("540060000000")) == State(0.84, 0.96)


def test_more_than_full_is_damage():
    for text in ("65006400", "64006500"):
        with pytest.raises(CodecError, match=r"0x355.*101 %"):
            codec.decode_state(bytes.fromhex(text))


def test_a_sign_on_a_limit_is_taken_off():
    assert codec.decode_limits(bytes.fromhex("1402C01240EDC201")).discharge_current_limit_a == 480.0


def test_values_beyond_a_field_saturate():
    encoded = codec.encode_measurements(Measurements(400.0, 1e6, -1e6))
    assert codec.decode_measurements(encoded) == Measurements(327.67, 3276.8, -3276.8)


@given(limits)
def test_limits_are_inverse_and_as_another_reads_them(value):
    data = codec.encode_limits(value)
    assert codec.decode_limits(data) == value
    if len(data) == 8:
        other = OTHER.decode_message(0x351, data)
        assert other["cvl"] == pytest.approx(value.charge_voltage_limit_v)
        assert other["ccl"] == pytest.approx(value.charge_current_limit_a)
        assert other["dcl"] == pytest.approx(value.discharge_current_limit_a)
        assert other["dvl"] == pytest.approx(value.discharge_voltage_limit_v)


@given(st.integers(0, 100), st.integers(0, 100))
def test_state_is_inverse_and_as_another_reads_it(soc, soh):
    data = codec.encode_state(State(soc / 100, soh / 100))
    assert codec.decode_state(data) == State(soc / 100, soh / 100)
    assert OTHER.decode_message(0x355, data) == {"soc": soc, "soh": soh}


@given(measurements)
def test_measurements_are_inverse_and_as_another_reads_them(value):
    data = codec.encode_measurements(value)
    assert codec.decode_measurements(data) == value
    other = OTHER.decode_message(0x356, data)
    assert other["u"] == pytest.approx(value.voltage_v)
    assert other["i"] == pytest.approx(-value.current_a)
    assert other["t"] == pytest.approx(value.temperature_degc)


@given(protection_words, protection_words, st.integers(0, 255))
def test_protections_are_inverse_and_as_another_reads_them(alarms, warnings, modules):
    data = codec.encode_protections(Flags(alarms, warnings), modules)
    assert codec.decode_protections(data) == Flags(alarms, warnings)
    other = OTHER.decode_message(0x359, data)
    raised = {name for name, bit in other.items() if name[1:2] == "_" and bit}
    assert raised == {f"a_{name}" for name in alarms} | {f"w_{name}" for name in warnings}
    assert (other["modules"], other["p"], other["n"]) == (modules, ord("P"), ord("N"))


@given(alarm_words, alarm_words, alarm_words)
def test_alarms_are_inverse_and_as_another_reads_them(alarms, warnings, supported):
    data = codec.encode_alarms(Flags(alarms, warnings), supported)
    assert codec.decode_alarms(data) == Flags(alarms, warnings)
    other = OTHER.decode_message(0x35A, data)
    raised = {name for name, code in other.items() if code == 1}
    assert raised == {f"a_{name}" for name in alarms} | {f"w_{name}" for name in warnings}


@given(st.booleans(), st.booleans(), st.booleans())
def test_requests_are_inverse_and_as_another_reads_them(charge, discharge, force):
    data = codec.encode_requests(Requests(charge, discharge, force))
    assert codec.decode_requests(data) == Requests(charge, discharge, force)
    assert OTHER.decode_message(0x35C, data) == {"charge": charge, "discharge": discharge, "force": force}


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFF))
def test_versions_are_inverse_and_as_another_reads_them(kind, major, minor, capacity_ah):
    data = codec.encode_versions(Versions(kind, major, minor, capacity_ah))
    assert codec.decode_versions(data) == Versions(kind, major, minor, capacity_ah)
    expected = {"kind": kind, "major": major, "minor": minor, "ah": capacity_ah, "tail": 0}
    assert OTHER.decode_message(0x35F, data) == expected


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8))
def test_makers_are_inverse(maker):
    assert codec.decode_maker(codec.encode_maker(maker)) == maker


@pytest.mark.parametrize("kind", list(DECODERS), ids=str)
@given(data=st.binary(max_size=8))
def test_any_bytes_are_read_or_refused_by_name(kind, data):
    if len(data) in kind.lengths:
        with contextlib.suppress(CodecError):
            DECODERS[kind](data)
    else:
        with pytest.raises(CodecError, match=f"0x{kind.identifier:03X}"):
            DECODERS[kind](data)
