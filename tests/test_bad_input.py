"""What is wrong is said at once, in words, with what would help; and it is never held against the product."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.errors import ConfigurationError
from harness.plans import plan

from .processes import FOR_ALL_PLANS, LAB1, LFP_RACK, Ended, Home, changed, finish


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def mistakes_in(ended: Ended) -> list[str]:
    """The list that a refused command line is answered with."""
    assert ended.code == 4, ended.said
    assert "Traceback" not in ended.said
    head, *lines = ended.err.strip().splitlines()
    count = re.fullmatch(r"(?:ERROR: )?(\d+) mistakes?:", head)
    assert count is not None, ended.err
    mistakes = [line.strip() for line in lines if line.strip()]
    assert len(mistakes) == int(count[1]), ended.err
    return mistakes


def told(mistakes: list[str], *expected: tuple[str, ...]) -> None:
    """Each expected mistake is told once, in one line with all its pieces."""
    for pieces in expected:
        lines = [line for line in mistakes if all(piece in line for piece in pieces)]
        assert len(lines) == 1, (pieces, mistakes)
    assert len(mistakes) == len(expected), mistakes


FIVE_IN_A_RIG = (
    ("bitrate = 500000", "bitrat = 500000"),
    ('driver = "pylontech_lv"', 'driver = "pylontech_lw"'),
    ('hears = "battery_can"', 'hears = "batery_can"'),
    ('role = "recorder"', 'role = "recoder"'),
    ('allowed_hazards = ["reads", "energises", "stresses"]', 'allowed_hazards = ["reads", "energizes"]'),
)


@pytest.mark.parametrize("command", ["pytest", "rackproof check"])
def test_a_rig_file_with_five_mistakes_lists_all_five_with_file_key_and_suggestion(home, command):
    rig = changed(LAB1, home.path / "lab9.toml", *FIVE_IN_A_RIG)
    ended = (
        home.pytest("testplans", f"--rig={rig}", "--emulate")
        if command == "pytest"
        else home.rackproof("check", rig, "--emulate")
    )
    told(
        mistakes_in(ended),
        ("lab9.toml", "wires.battery_can.bitrat", "did you mean 'bitrate'?"),
        ("lab9.toml", "devices.bms.driver", "did you mean 'pylontech_lv'?"),
        ("lab9.toml", "devices.pcs.hears", "did you mean 'battery_can'?"),
        ("lab9.toml", "devices.recorder.role", "did you mean 'recorder'?"),
        ("lab9.toml", "allowed_hazards[1]", "did you mean 'energises'?"),
    )
    assert not list(home.path.glob("runs*/*")), "nothing was opened, so nothing is recorded"


def test_a_product_file_with_five_mistakes_lists_all_five_with_file_key_and_suggestion(home):
    product = changed(
        LFP_RACK,
        home.path / "mine.toml",
        ("capacity_ah = 300.0", "capacity_ahh = 300.0"),
        ('chemistry = "lfp"', 'chemistry = "lpf"'),
        ("initial_soc = 0.5", "initial_soc = 1.5"),
        ('end_cause = "taper"', 'end_cause = "tapper"'),
        ("bms_timeout_s = 3.0", 'bms_timeout_s = "3.0"'),
    )
    told(
        mistakes_in(home.pytest("testplans", "--rig=lab1", "--emulate", f"--product={product}")),
        ("mine.toml", "ratings.capacity_ah is missing", "a number"),
        ("mine.toml", "ratings.capacity_ahh", "did you mean 'capacity_ah'?"),
        ("mine.toml", "battery.chemistry", "did you mean 'lfp'?"),
        ("mine.toml", "battery.initial_soc = 1.5", "allowed"),
        ("mine.toml", "charge_profile.end_cause", "did you mean 'taper'?"),
        ("mine.toml", "inverter.bms_timeout_s", "a number"),
    )


@pytest.mark.parametrize("command", ["pytest", "rackproof check"])
def test_an_unknown_rig_names_the_known_ones_and_the_near_miss(home, command):
    ended = (
        home.pytest("testplans", "--rig=lab11", "--emulate")
        if command == "pytest"
        else home.rackproof("check", "lab11")
    )
    told(mistakes_in(ended), ("unknown rig 'lab11'", "known: ", "lab1", "did you mean 'lab1'?"))


def test_mistakes_of_rig_product_site_and_options_are_told_together(home):
    ended = home.pytest(
        "testplans", "--rig=lab1", "--emulate", "--product=lfp_rak", "--site=osaca",
        "--seed-fault=frosen:bms", "--seed-fault=frozen:bmss", "--seed-fault=dead:bms",
        "--seed-fault=swapped:fault_inserter",
    )  # fmt: skip
    told(
        mistakes_in(ended),
        ("unknown product 'lfp_rak'", "did you mean 'lfp_rack'?"),
        ("unknown site 'osaca'", "did you mean 'osaka'?"),
        ("--seed-fault 'frosen:bms'", "known: ", "did you mean 'frozen'?"),
        (
            "--seed-fault 'frozen:bmss'",
            "bms, pcs, relay, shunt, safety, analyzer, grid, recorder",
            "did you mean 'bms'?",
        ),
        ("--seed-fault 'dead:bms'", "dead is a fault of an inverter"),
        (
            "--seed-fault 'swapped:fault_inserter'",
            "role fault_inserter",
            "bms, pcs, shunt, analyzer, recorder",
        ),
    )


def test_broken_toml_is_told_with_file_line_and_column(home):
    rig = changed(LAB1, home.path / "lab9.toml", ('name = "lab1"', 'name = "lab1'))
    (mistake,) = mistakes_in(home.pytest("testplans", f"--rig={rig}", "--emulate"))
    assert re.search(r"lab9\.toml: line \d+, column \d+: no TOML", mistake)


def test_what_cannot_be_done_with_a_rig_is_a_usage_error_that_says_what_can(home):
    told(
        mistakes_in(home.pytest("testplans", "--rig=lab1", "--emulate=battery,analyser,grid_source")),
        ("--emulate=bms", "protects the battery at battery_dc", 'topology.battery_side = "bench_source"'),
        (
            "--emulate=analyser",
            "rig lab1 has no device 'analyser'; it has: bms, pcs",
            "did you mean 'analyzer'?",
        ),
        ("--emulate=grid", "grid_source beside real devices", "emulate all devices with --emulate alone"),
    )
    told(
        mistakes_in(home.pytest("--rig=lab1", "--emulate", "testplans/communication")),
        ("--emulate testplans/communication: a path is no device", "put the path before --emulate"),
    )
    told(
        mistakes_in(home.pytest("--rig=lab1", "--emulate", "myplan.py")),
        ("--emulate myplan.py: a path is no device", "put the path before --emulate"),
    )
    told(
        mistakes_in(home.pytest("testplans", "--rig=lab1", "--seed-fault=frozen:bms")),
        ("--seed-fault", "add --emulate"),
    )


def test_a_folder_of_runs_or_a_serial_that_cannot_be_is_told_before_anything_is_opened(home):
    path = home.path / "taken"
    path.write_text("")
    command = ("pytest", "testplans", "--rig=lab1", "--emulate", f"--runs={path}", f"--serial={'S' * 300}")
    home.environment["XDG_CONFIG_HOME"] = str(path)
    ended = finish(home.start(*command), path)
    told(
        mistakes_in(ended),
        (f"{path}/rackproof/station_ed25519.pem, which signs the run: {path} is a file", "XDG_CONFIG_HOME"),
        (f"--runs {path}: {path} is a file", "allowed: a folder"),
        ("--serial of 300 characters", "allowed up to 64"),
    )


def test_a_folder_of_runs_that_cannot_be_made_ends_the_session_in_a_line(home):
    """Nobody may make a folder in /proc, and its permissions do not say so."""
    command = ("pytest", "testplans/communication", "--rig=lab1", "--emulate", "--runs=/proc/runs")
    ended = finish(home.start(*command), home.path)
    assert ended.code == 4
    assert "the run's folder could not be made: No such file or directory; name another one" in ended.out
    assert "Traceback" not in ended.said
    assert "ERRORS" not in ended.said


WRONG = """
from harness.plans import plan


@plan("XX-01", "wrong", hazard="energizes", measures=("a", "a"), limit_s={"ci": 9.0})
def test_wrong(battery):
    pass
"""


def test_what_a_plan_says_wrongly_of_itself_is_told_when_it_is_collected(home):
    ended = home.pytest(*home.plans(WRONG), "--rig=lab1", "--emulate")
    assert ended.code == pytest.ExitCode.INTERRUPTED
    for mistake in (
        "a plain function; a plan waits in rig time: async def",
        "hazard 'energizes'; allowed: reads, energises, stresses, destroys; did you mean 'energises'?",
        "measure 'a' 2 times; allowed: each once",
        "limit_s for form full: nothing; allowed: seconds above 0",
    ):
        assert f"test_own.test_wrong: plan XX-01: {mistake}" in ended.said
    assert "Traceback" not in ended.said
    assert "harness/plans.py" not in ended.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"measures": "alive"}, "allowed: a tuple of names"),
        ({"limit_s": 0.0}, "limit_s for form ci: 0.0"),
        (
            {"limit_s": {"ci": 9.0, "full": 9.0, "fill": 9.0}},
            "'fill'; allowed: ci, full; did you mean 'full'?",
        ),
    ],
)
def test_what_a_plan_says_wrongly_is_never_a_plan(change, said):
    async def test_wrong():
        """Never run."""

    right = {"hazard": "reads", "measures": ("a",), "limit_s": 1.0}
    assert plan("XX-01", "right", **right)(test_wrong)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        plan("XX-01", "wrong", **right | change)(test_wrong)


TWICE = """
from harness.plans import plan

said = {"hazard": "reads", "measures": ("a",), "limit_s": 1.0}


@plan("XX-01", "one", **said)
async def test_here(judge):
    pass


@plan("XX-01", "one more", **said)
async def test_there(judge):
    pass
"""


def test_one_id_for_two_plans_is_told(home):
    rig = changed(LAB1, home.path / "all.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(TWICE), f"--rig={rig}", "--emulate")
    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert re.search("one id, several plans.*XX-01: .*::test_here, .*::test_there", ended.said)


PARAMETERS = """
import pytest
from harness.plans import plan


@plan("XX-01", "with a level", hazard="reads", measures=("alive",), limit_s=60.0)
@pytest.mark.parametrize("_level", [1, 2])
async def test_level(judge, _level):
    judge("alive", _level == 1, "rackproof_bench.is_true")
"""


def test_no_two_plans_of_a_run_have_one_name(home):
    """Not by a parameter that looks as if it were pytest's own, nor by a file that is given twice."""
    rig = changed(LAB1, home.path / "all.toml", FOR_ALL_PLANS)
    *settings, folder = home.plans(PARAMETERS)
    ended = home.pytest(*settings, folder, f"--rig={rig}", "--emulate")
    assert ended.verdicts == {"XX-01[1]": "PASS", "XX-01[2]": "FAIL"}
    again = home.pytest(*settings, folder, folder, "--keep-duplicates", f"--rig={rig}", "--emulate")
    assert again.code == 4
    assert "collected twice; allowed: once: XX-01[1], XX-01[2]" in again.said


def test_a_rig_file_with_a_misspelt_plan_says_so_beside_the_plan_that_it_left_out(home):
    rig = changed(LAB1, home.path / "lab1.toml", ('"CM-06"]', '"CM-6"]'))
    ended = home.pytest("testplans/communication", f"--rig={rig}", "--emulate")
    assert "its file lists what no plan here has: 'CM-6'; did you mean 'CM-06'?" in ended.said


def test_plans_without_a_rig_are_a_usage_error_that_says_what_to_add(home):
    ended = home.pytest("testplans")
    assert ended.code == 4
    assert re.search(r"\d+ test plans were collected and no rig is named: add --rig=NAME", ended.said)
    assert "--emulate" in ended.said
    assert "Traceback" not in ended.said


def test_emulate_without_a_rig_is_a_usage_error(home):
    ended = home.pytest("testplans", "--emulate")
    assert ended.code == 4
    assert "--emulate and --seed-fault go with --rig=NAME" in ended.said


READS = """
from harness.plans import plan


@plan("RD-01", "reads", hazard="reads", measures=("alive",), limit_s=60.0)
async def test_reads(inverter, judge):
    judge("alive", (await inverter.dc_voltage_v()).value > 0.0, "rackproof_bench.is_true")
"""


ADDRESSES = (
    'host = "192.0.2.10"\nport = 502',
    'host = "192.0.2.11"\nport = 502',
    'host = "192.0.2.12"\nport = 502',
    "TCPIP0::192.0.2.20::5025",
    "TCPIP0::192.0.2.21::5025",
    "TCPIP0::192.0.2.22::5025",
)
"""Of lab1, where a rig file says them; the CAN lines have none."""
ON_TCP = (
    ("pcs (sunspec_storage)", "pcs_lan"),
    ("relay (waveshare_relay)", "relay_lan"),
    ("safety (wago_750)", "safety_lan"),  # the guard's to open, not the run's
    ("analyzer (yokogawa_wt1800e)", "analyzer_lan"),
    ("grid (ametek_sequoia)", "source_lan"),
    ("recorder (generic_daq)", "recorder_lan"),
)
"""Device with driver, and wire, at each of the addresses."""
OF_THE_RUN = tuple(each for each in ON_TCP if each[1] != "safety_lan")
"""Those that a run opens itself."""


def pointed_at(ports: list[int], target: Path) -> Path:
    """Copy lab1 with its devices at loopback ports, in the order of ``ADDRESSES``."""
    new = [
        f"TCPIP0::127.0.0.1::{port}" if "TCPIP" in old else f'host = "127.0.0.1"\nport = {port}'
        for old, port in zip(ADDRESSES, ports, strict=False)
    ]
    return changed(LAB1, target, FOR_ALL_PLANS, *zip(ADDRESSES, new, strict=False))


def test_an_unreachable_device_names_device_wire_and_address_within_its_time_out(home):
    """On the hardware path; every device that cannot be reached is told, not the first alone."""
    with ExitStack() as stack:
        # Bound and not listening: whoever connects is refused.
        closed = [stack.enter_context(socket.socket()) for _ in ADDRESSES]
        for each in closed:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in closed]
        rig = pointed_at(ports, home.path / "lab9.toml")
        began_s = time.monotonic()
        ended = home.pytest(*home.plans(READS), f"--rig={rig}")
        took_s = time.monotonic() - began_s
    assert ended.verdicts == {"RD-01": "ERROR"}
    assert ended.code == 1
    assert "6 of 6 devices cannot be opened" in ended.out
    assert re.search(r"bms \(pylontech_lv\): battery_can \(socketcan can0\)", ended.out)
    for (device, wire), port in zip(ON_TCP, ports, strict=True):
        if (device, wire) not in OF_THE_RUN:
            continue
        said = rf"{re.escape(device)}: {wire} \(.*127\.0\.0\.1::?{port}\b.*refused: nobody listens there"
        assert re.search(said, ended.out), device
    assert took_s < 60.0, "all refusals are known at once, whatever the time-outs are"


def test_a_device_that_accepts_and_never_answers_is_told_after_its_time_out(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        rig = pointed_at([port], home.path / "lab9.toml")
        began_s = time.monotonic()
        ended = home.rackproof("read", rig, "inverter.ac_power_w")
        took_s = time.monotonic() - began_s
    assert ended.code == 1
    assert re.search(rf"pcs \(sunspec_storage\): pcs_lan .*127\.0\.0\.1:{port}.*within 1 s", ended.err)
    assert "Traceback" not in ended.said
    assert took_s < 30.0


@contextmanager
def speaking(answer: bytes) -> Iterator[list[int]]:
    """Serve devices that answer whatever they hear with the same bytes; gives their ports."""
    is_up, ports, ways_out = threading.Event(), list[int](), list[Callable[[], object]]()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1024):
                writer.write(answer)
        writer.close()

    async def serve() -> None:
        is_over = asyncio.Event()
        loop = asyncio.get_running_loop()
        ways_out.append(lambda: loop.call_soon_threadsafe(is_over.set))
        async with AsyncExitStack() as stack:
            for _ in ADDRESSES:
                server = await stack.enter_async_context(await asyncio.start_server(converse, "127.0.0.1", 0))
                ports.append(server.sockets[0].getsockname()[1])
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    is_up.wait()
    try:
        yield ports
    finally:
        ways_out[0]()
        thread.join()


RUBBISH = {
    "noise": b"\x00\xff\x13\x37 nonsense \xfe\n",
    "html": b"HTTP/1.1 400 Bad Request\r\n\r\n<html>who are you?</html>\n",
    "well formed nonsense": b"42\n",
}


@pytest.mark.parametrize("answer", RUBBISH.values(), ids=RUBBISH)
def test_a_device_that_answers_rubbish_is_an_error_of_the_bench_and_never_a_fail(home, answer):
    """Over Modbus and over VISA; each device is named."""
    with speaking(answer) as ports:
        rig = pointed_at(ports, home.path / "lab9.toml")
        ended = home.pytest(*home.plans(READS), f"--rig={rig}")
    assert ended.verdicts == {"RD-01": "ERROR"}
    assert "6 of 6 devices cannot be opened" in ended.out
    for device, _ in OF_THE_RUN:
        assert f"{device}: " in ended.out, device
    assert "Traceback" not in ended.said
    junit = ET.parse(ended.folder / "junit.xml").getroot()  # noqa: S314 - our own
    assert (junit.get("errors"), junit.get("failures")) == ("1", "0")


def test_a_seeded_fault_of_a_device_that_answers_nothing_names_device_wire_and_time_out(home):
    """The same in virtual time: the time-out costs rig time alone."""
    rig = changed(LAB1, home.path / "lab9.toml", FOR_ALL_PLANS)
    ended = home.pytest(*home.plans(READS), f"--rig={rig}", "--emulate", "--seed-fault=silent:inverter")
    assert ended.verdicts == {"RD-01": "ERROR"}
    assert ended.record.seeded_faults == ("silent:pcs",)
    assert re.search(
        r"pcs \(sunspec_storage\): pcs_lan \(Modbus TCP 127\.0\.0\.1\).*no answer within 1 s",
        ended.messages["RD-01"],
    )
