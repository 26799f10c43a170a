"""Files are found by name or path, and what is written loads equal."""

from __future__ import annotations

import hashlib

import pytest

from harness.errors import ConfigurationError
from harness.rig.driver_folders import driver_names, find_driver
from harness.rig.emulation import pointed_at
from harness.rig.files import (
    find_file,
    given_values,
    known_names,
    load_product,
    load_rig,
    load_site,
    parse_rig,
    write_rig,
)
from harness.rig.refusals import refusals
from harness.roles import ROLES

from ..processes import LAB1, REPOSITORY, changed


def test_a_name_is_looked_up_in_the_project(project, find_driver):
    assert load_rig("small", project.root, find_driver=find_driver).station == "bay 1"
    assert "small" in known_names("rig", project.root)


@pytest.mark.parametrize("path", ["fixtures/rigs/small.toml", "./fixtures/rigs/small.toml"])
def test_anything_with_a_slash_or_the_suffix_is_a_path(project, find_driver, path):
    assert load_rig(path, project.root, find_driver=find_driver).name == "small"


def test_a_path_is_taken_whole(project, find_driver):
    assert load_rig(project.rigs / "small.toml", find_driver=find_driver, root=project.root).name == "small"


@pytest.mark.parametrize(
    ("load", "asked", "said"),
    [
        (load_rig, "smal", "unknown rig 'smal'; known: "),
        (load_product, "lfp", "unknown product 'lfp'; known: "),
        (load_site, "oska", "unknown site 'oska'; known: "),
    ],
)
def test_an_unknown_name_is_told_with_the_known_ones_and_the_near_miss(project, load, asked, said):
    with pytest.raises(ConfigurationError) as caught:
        load(asked, project.root)
    assert str(caught.value).startswith(said)
    assert "did you mean '" in str(caught.value)


def test_a_project_without_files_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="unknown rig 'lab2'; known: "):
        load_rig("lab2", tmp_path)


def test_a_missing_file_and_a_folder_are_told(project):
    with pytest.raises(ConfigurationError, match=r"rigs/none\.toml: cannot be read: No such file"):
        load_rig("fixtures/rigs/none.toml", project.root)
    with pytest.raises(ConfigurationError, match="fixtures/rigs: cannot be read: Is a directory"):
        load_rig("fixtures/rigs", project.root)


def test_what_is_written_loads_equal(project, find_driver, tmp_path):
    table = project.table()
    table["description"] = 'a "quoted" line\nand \\ another, 二'
    table["wires"]["can0"]["options"] = {"fd": False, "host": "192.0.2.9"}
    rig = project.load(table)
    path = tmp_path / "copy.toml"
    write_rig(rig, path)
    assert load_rig(path, project.root, find_driver=find_driver) == rig


def test_an_emulated_copy_keeps_everything_but_its_addresses(project, find_driver, tmp_path):
    """What ``rackproof emulate`` does: other ports, ``emulated = true``, the same name."""
    rig = project.load(project.table())
    ports = {name: 40121 + count for count, name in enumerate(rig.wires)}
    emulated = pointed_at(rig, {name: ("127.0.0.1", port) for name, port in ports.items()})
    path = tmp_path / "small-emulated.toml"
    write_rig(emulated, path)
    write_rig(emulated, path)  # anew
    back = load_rig(path, project.root, find_driver=find_driver)
    assert back == emulated
    assert back.emulated
    assert (back.name, back.wires["lan"].port) == ("small", ports["lan"])


def test_a_place_that_cannot_be_written_is_told(project, tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_rig(project.load(project.table()), tmp_path / "none" / "rig.toml")


def test_the_hash_is_of_the_bytes_that_were_checked(project, find_driver):
    source = find_file("rig", "small", project.root)
    assert source.sha256 == hashlib.sha256((project.rigs / "small.toml").read_bytes()).hexdigest()
    before = parse_rig(source, project.root, find_driver=find_driver)
    (project.rigs / "small.toml").write_text("gone = true\n")
    assert parse_rig(source, project.root, find_driver=find_driver) == before


def test_a_folder_under_drivers_is_found_by_name():
    with pytest.raises(ConfigurationError, match="unknown driver 'no_such_maker'; known: "):
        find_driver("no_such_maker")
    assert all("." not in name for name in driver_names())


@pytest.mark.parametrize(
    ("package", "content", "said"),
    [
        (
            "shelf_a",
            "import no_such_library_at_all\n",
            "does not import: ModuleNotFoundError: No module named",
        ),
        ("shelf_b", "1 / 0\n", "does not import: ZeroDivisionError"),
        ("shelf_c", "ROLE = 'battery'\nWIRE = 'can'\nTRIED = 'bench'\n", "lacks Options, Driver, Emulator"),
    ],
)
def test_a_driver_that_does_not_import_is_told_with_its_cause(tmp_path, monkeypatch, package, content, said):
    folder = tmp_path / package / "acme_broken"
    folder.mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    (folder / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        find_driver("acme_broken", package)
    assert said in str(caught.value)


def test_no_text_passes_for_a_number_of_a_devices_options(tmp_path):
    rig = changed(LAB1, tmp_path / "lab9.toml", ("heartbeat_timeout_s = 5.0", 'heartbeat_timeout_s = "5.0"'))
    with pytest.raises(ConfigurationError) as caught:
        load_rig(rig, REPOSITORY)
    (mistake,) = caught.value.mistakes
    assert mistake == f'{rig}: devices.pcs.options.heartbeat_timeout_s = "5.0": allowed: a number'


def test_a_grid_code_without_a_requirement_file_is_refused_with_those_there_are(tmp_path):
    osaka = REPOSITORY / "fixtures" / "sites" / "osaka.toml"
    codes = ('["jeac9701", "ieee1547"]', '["jeac9701_2024", "ieee1574", "vde4105"]')
    site = changed(osaka, tmp_path / "site.toml", codes)
    with pytest.raises(ConfigurationError) as caught:
        load_site(site, REPOSITORY)
    misspelt, elsewhere = caught.value.mistakes
    known = "ieee1547, ieee1547_1, itic, jeac9701, product_limits, rackproof_bench"
    assert misspelt == (
        f"{site}: grid_codes[1]: no requirement file for 'ieee1574'; known: {known}; did you mean 'ieee1547'?"
    )
    assert elsewhere == f"{site}: grid_codes[2]: no requirement file for 'vde4105'; known: {known}"
    twice = changed(osaka, site, (codes[0], '["jeac9701", "jeac9701"]'))
    with pytest.raises(ConfigurationError, match=r"grid_codes = .*: jeac9701 is there twice"):
        load_site(twice, REPOSITORY)


def test_the_shipped_rig_is_sound_with_its_own_drivers():
    rig = load_rig("lab1", REPOSITORY)
    assert {device.role for device in rig.devices.values()} == set(ROLES) - {"energy_manager"}
    assert not rig.emulated
    for product in known_names("product", REPOSITORY):
        assert refusals(rig, load_product(product, REPOSITORY)) == []


def test_requirements_are_given_what_product_site_and_rig_say(project, lfp_rack):
    rig, site = project.load(project.table()), load_site("osaka", REPOSITORY)
    given = given_values(lfp_rack, site, rig, 50.0)
    assert given["limits.rte_ac_min"] == lfp_rack.limits.rte_ac_min
    assert given["ramp_limits.up_w_per_s"] == site.ramp_limits.up_w_per_s
    assert given["nominal.voltage_v"] == 115.47
    assert given["limits.load_frequency_max_hz"] == 50.5
    assert "limits.load_frequency_max_hz" not in given_values(lfp_rack, site, rig)
