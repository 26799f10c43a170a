"""Chemistry files: what they say, and what is said of a wrong one."""

from importlib.resources import files

import numpy as np
import pytest

from harness.errors import ConfigurationError
from harness.plant import chemistries


def text_of(name):
    return (files(chemistries) / f"{name}.toml").read_text(encoding="utf-8")


def test_every_chemistry_loads_and_its_voltage_rises_with_charge():
    assert chemistries.names() == ("lfp", "zinc_halogen")
    for name in chemistries.names():
        assert np.all(np.diff(chemistries.load(name).ocv) > 0.0)


def test_an_unknown_chemistry_is_named_with_what_there_is():
    with pytest.raises(ConfigurationError, match=r"'lead'.*lfp, zinc_halogen"):
        chemistries.load("lead")


def test_zinc_leaks_between_what_improved_and_plain_cells_do():
    """Zinc-iodine (RSC EE 2025): improved 2.9 % in 7 d and 17.1 % in 1000 h, plain more than 10 % in 2 d."""
    leak_per_day = chemistries.load("zinc_halogen").self_discharge_per_day
    assert 1.5 * 0.171 * 24.0 / 1000.0 < leak_per_day < 0.10 / 2.0 / 1.5


def test_lfp_nodes_are_the_published_ones():
    lfp = chemistries.load("lfp")
    table = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0]
    assert lfp.nodes.tolist() == [-0.05, *table, 1.05]
    assert lfp.ocv_v(0.95) == pytest.approx(3.3447, abs=1e-12)
    assert lfp.ocv_v(0.01) == pytest.approx(2.783, abs=1e-12)
    assert lfp.resistance_ohm(0.5, is_charging=True) == pytest.approx(0.0447670, abs=1e-12)
    assert lfp.resistance_ohm(0.0, is_charging=False) == pytest.approx(0.0616856, abs=1e-12)


@pytest.mark.parametrize("name", chemistries.names())
def test_lines_between_nodes_stay_within_their_error(name):
    cell = chemistries.load(name)
    assert np.abs(np.interp(cell.soc, cell.nodes, cell.node_v) - cell.ocv).max() <= chemistries.NODE_ERROR_V
    assert 0.0 in cell.nodes
    assert len(cell.nodes) < 80


def test_a_new_chemistry_is_one_text():
    other = text_of("zinc_halogen").replace('name = "zinc_halogen"', 'name = "zinc_iodine"')
    cell = chemistries.parse(other.replace("reference_v = 1.82", "reference_v = 1.299"), "zinc_iodine")
    assert cell.ocv_v((1.0 - 0.001) / 1.999) == pytest.approx(1.299, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("lfp", "capacity_ah = 3.0\n", "", "key 'cell.capacity_ah' is missing"),
        ("lfp", "mass_kg", "mass_g", r"unknown key 'cell.mass_g'; did you mean 'mass_kg'\?"),
        ("lfp", "[hysteresis]", "[hysteresys]", r"unknown key 'hysteresys'; did you mean 'hysteresis'\?"),
        ("lfp", "mass_kg = 0.07", 'mass_kg = "0.07"', "cell.mass_kg: came '0.07'"),
        ("lfp", "mass_kg = 0.07", "mass_kg = -0.07", "cell.mass_kg: came -0.07; .*greater than 0"),
        ("lfp", "soc = [0.0, 0.01, 0.02", "soc = [0.0, 0.02, 0.01", "ocv: soc=.*allowed only rising numbers"),
        ("lfp", "soc = [0.0, 0.01, 0.02", "soc = [0.0, 0.02", "ocv: voltage_v has 17 numbers; allowed 16"),
        ("lfp", "2.286, 2.783", "2.783, 2.286", "voltage_v does not rise"),
        ("lfp", "10.0, 25.0, 40.0]", "10.0, 25.0]", "charge_ohm has 3 rows; allowed 2, one a temperature"),
        ("lfp", "share = 0.35", "share = 0.85", "branches share 1.1 of the resistance; allowed below 1"),
        ("lfp", "maximum_v = 3.6", "maximum_v = 1.6", "cell.maximum_v=1.6; allowed above cell.minimum_v=2.0"),
        ("lfp", 'name = "lfp"', 'name = "lpf"', "name: came 'lpf'; allowed 'lfp'"),
        ("lfp", 'kind = "table"', 'kind = "tabel"', "ocv: came .*'table', 'nernst'"),
        ("lfp", "[cell]", "[cell", "no TOML"),
        (
            "zinc_halogen",
            "full_mol_per_l = 2.0",
            "full_mol_per_l = 0.0005",
            "allowed above empty_mol_per_l=0.001",
        ),
        ("zinc_halogen", "soc = -0.05", "soc = 0.05", r"below.soc=0.05, above.soc=1.05; allowed < 0 and > 1"),
        (
            "zinc_halogen",
            "current_share = [0.001,",
            "current_share = [1.5,",
            "hydrogen.current_share.0: came 1.5",
        ),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_is_allowed(name, before, after, message):
    text = text_of(name)
    assert before in text
    with pytest.raises(ConfigurationError, match=rf"(?m)^chemistries/{name}.toml: .*{message}"):
        chemistries.parse(text.replace(before, after, 1), name)


def test_all_mistakes_come_at_once():
    text = text_of("lfp").replace("mass_kg", "mass_g").replace("capacity_ah = 3.0", "capacity_ah = 0.0")
    with pytest.raises(ConfigurationError) as caught:
        chemistries.parse(text, "lfp")
    assert len(caught.value.mistakes) == 3


@pytest.mark.parametrize("name", chemistries.names())
def test_every_number_has_its_origin(name):
    """Each table of numbers says where they come from, in a comment of its own or at the head of the file."""
    text = text_of(name)
    head = text.split("\n\n", 1)[0]
    for part in text.split("\n[")[1:]:
        assert "# " in part or "without another origin" in head, part
