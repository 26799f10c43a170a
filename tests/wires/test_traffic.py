"""What a line carried: readable, complete, and with a digest that tells any difference."""

from __future__ import annotations

import hashlib

import can
import pytest

from harness.clock import rig_loop, run_virtual
from harness.testing.loopback import modbus_pair
from harness.wires.modbus import ModbusTcpLine, ModbusTcpServer
from harness.wires.traffic import LONG_BYTES, LineTraffic, Traffic


class Unit:
    """One register, which holds 0x1234 until something is written."""

    value = 0x1234

    def read(self, table, address, count):
        return [self.value] * count

    def write(self, table, address, values):
        (self.value,) = values


def frames(traffic, *, count=5, change=None):
    for number in range(count):
        at_s, arbitration_id, data = number / 8, 0x351, number.to_bytes(8, "little")
        if number == 3 and change is not None:
            at_s, arbitration_id, data = change(at_s, arbitration_id, data)
        traffic.frame(at_s, arbitration_id, data)
    return traffic


def digest_of(**changes):
    return frames(LineTraffic("battery_can", None, is_can=True), **changes).digest()


def test_equal_traffic_has_an_equal_digest_with_a_file_or_without(tmp_path):
    with_file = frames(LineTraffic("battery_can", tmp_path, is_can=True))
    assert with_file.digest() == digest_of()
    with_file.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda at_s, name, data: (at_s + 1e-6, name, data),
        lambda at_s, name, data: (at_s, name + 1, data),
        lambda at_s, name, data: (at_s, name, data[:-1]),
        lambda at_s, name, data: (at_s, name, bytes([data[0] ^ 1]) + data[1:]),
    ],
    ids=["a microsecond", "an identifier", "a length", "a bit"],
)
def test_any_difference_is_another_digest(change):
    assert digest_of(change=change) != digest_of()


def test_one_frame_more_and_another_order_are_another_digest():
    assert len({digest_of(count=count) for count in range(6)}) == 6
    first, second = (LineTraffic("meter_lan", None, is_can=False) for _ in range(2))
    first.text(1.0, True, b"A?\n")
    first.text(1.0, False, b"1\n")
    second.text(1.0, False, b"1\n")
    second.text(1.0, True, b"A?\n")
    assert first.digest() != second.digest()


@pytest.mark.parametrize("payload", [b"\xff" * 10_000, b"\0" * 10_000, b"text " * 2_000])
def test_every_byte_of_a_long_message_is_in_the_digest(payload):
    other = bytearray(payload)
    other[9_000] ^= 1
    digests = set()
    for data in (payload, bytes(other), payload[:-1]):
        traffic = LineTraffic("meter_lan", None, is_can=False)
        traffic.text(1.0, False, data)
        digests.add(traffic.digest())
    assert len(digests) == 3


def test_asking_for_the_digest_in_between_changes_nothing():
    asked, unasked = (LineTraffic("meter_lan", None, is_can=False) for _ in range(2))
    for number in range(3000):
        for traffic in (asked, unasked):
            traffic.text(float(number), True, b"DATA?\n")
            traffic.text(float(number), False, b"#12\xff\xfe\n")
        if number % 7 == 0:
            asked.digest()
    assert asked.digest() == unasked.digest()
    assert asked.count == unasked.count == 6000


def test_messages_of_an_instrument_are_readable(tmp_path):
    traffic = LineTraffic("meter_lan", tmp_path, is_can=False)
    block = b"#3256" + bytes(range(256)) + b"\n"
    traffic.text(0.0, True, b"*IDN?\n")
    traffic.text(0.25, False, b"MAKER,MODEL,1,2\r\n")
    traffic.text(1.0, False, b"two\nlines\n")
    traffic.text(1.5, False, block)
    traffic.close()
    assert (tmp_path / "meter_lan.txt").read_text().splitlines() == [
        "0.000000 > *IDN?",
        "0.250000 < MAKER,MODEL,1,2",
        "1.000000 < two\\nlines",
        f"1.500000 < #262 bytes {block[:64].hex()} SHA-256 {hashlib.sha256(block).hexdigest()}",
    ]


def test_modbus_traffic_is_the_bytes_of_the_specification(tmp_path):
    # A read of one holding register at 0x1234 of unit 7, and a write of 0x00FF there (V1.1b3, 6.3 and 6.6).
    async def main():
        traffic = LineTraffic("pcs_lan", tmp_path, is_can=False)
        server = ModbusTcpServer("pcs_lan", {7: Unit()})
        await server.start()
        line = ModbusTcpLine("pcs_lan", "127.0.0.1", server.port, traffic=traffic)
        await line.open()
        await line.read_holding(7, 0x1234, 1)
        await line.write_holding(7, 0x1234, [0xFF])
        await line.close()
        await server.stop()
        await rig_loop().settle()
        traffic.close()

    run_virtual(main)
    lines = [line.split() for line in (tmp_path / "pcs_lan.txt").read_text().splitlines()]
    assert [direction for _, direction, _ in lines] == [">", "<", ">", "<"]
    # Two bytes of transaction stand in front, and are the same in question and answer.
    assert [data[4:] for _, _, data in lines] == [
        "00000006" + "07" + "03" + "1234" + "0001",
        "00000005" + "07" + "03" + "02" + "1234",
        "00000006" + "07" + "06" + "1234" + "00ff",
        "00000006" + "07" + "06" + "1234" + "00ff",
    ]
    assert lines[0][2][:4] == lines[1][2][:4] != lines[2][2][:4] == lines[3][2][:4]


def test_a_long_file_is_packed_when_its_line_closes_and_the_fields_tools_read_it(tmp_path):
    """Open it can be followed; packed it has the same text, and equal texts make equal files."""
    packed = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        can_line, meter = (
            LineTraffic("battery_can", folder, is_can=True),
            LineTraffic("meter", folder, is_can=False),
        )
        for number in range(LONG_BYTES // 40):
            can_line.frame(number * 0.001, 0x355, number.to_bytes(8))
        meter.text(0.0, True, b"*IDN?\n")
        can_line.flush()
        assert (folder / "battery_can.asc").stat().st_size > LONG_BYTES
        can_line.close()
        can_line.close()
        meter.close()
        assert sorted(each.name for each in folder.iterdir()) == ["battery_can.asc.gz", "meter.txt"]
        packed.append((folder / "battery_can.asc.gz").read_bytes())
    assert packed[0] == packed[1]
    assert len(packed[0]) < LONG_BYTES / 4
    with can.LogReader(tmp_path / "one" / "battery_can.asc.gz", relative_timestamp=True) as reader:
        frames = list(reader)
    assert [frame.data for frame in frames] == [n.to_bytes(8) for n in range(LONG_BYTES // 40)]


def test_an_asc_file_without_one_frame_is_whole(tmp_path):
    traffic = LineTraffic("battery_can", tmp_path, is_can=True)
    traffic.close()
    traffic.close()
    with can.ASCReader(tmp_path / "battery_can.asc") as reader:
        assert list(reader) == []


def test_the_lines_of_a_bench_have_a_file_and_a_digest_each(tmp_path):
    traffic = Traffic(tmp_path / "traffic" / "FO-01")
    frames(traffic.line("battery_can", is_can=True))
    traffic.line("meter_lan").text(0.0, True, b"A?\n")
    assert traffic.line("meter_lan") is traffic.line("meter_lan")
    digests = traffic.digests()
    assert list(digests) == ["battery_can", "meter_lan"]
    assert digests["battery_can"] == digest_of()
    traffic.close()
    assert sorted(path.name for path in (tmp_path / "traffic" / "FO-01").iterdir()) == [
        "battery_can.asc",
        "meter_lan.txt",
    ]


def test_without_a_folder_there_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traffic = Traffic()
    frames(traffic.line("battery_can", is_can=True))
    traffic.close()
    assert list(tmp_path.iterdir()) == []


def test_traffic_of_two_equal_runs_is_equal():
    def run():
        async def main():
            async with modbus_pair({1: Unit()}) as line:
                traffic = LineTraffic("pcs_lan", None, is_can=False)
                line._traffic = traffic
                for address in range(50):
                    await line.read_holding(1, address, 3)
                return traffic.digest()

        return run_virtual(main)

    assert run() == run()
