"""A project's own limits lie beside its rigs."""

from __future__ import annotations

import pytest

from harness.errors import ConfigurationError
from harness.rig.files import own_requirements

RULES = """
family = "lab_rules"
standard = "Rules of our laboratory"
edition = "1"

[requirement.idle_power]
quantity = "power at rest"
max = 20.0
unit = "W"
rule = "simple"
label = "own"
source = "decided for this test"
"""


def test_a_projects_own_limits_stand_beside_the_installed_ones(tmp_path):
    folder = tmp_path / "fixtures" / "requirements"
    folder.mkdir(parents=True)
    (folder / "lab_rules_1.toml").write_text(RULES)
    found = own_requirements(tmp_path)
    assert found["lab_rules.idle_power"].resolve(50.0, {}).maximum == 20.0
    assert "rackproof_bench.is_true" in found
    assert "lab_rules.idle_power" not in own_requirements()
    (folder / "lab_rules_1.toml").write_text(RULES.replace('"W"', '"watt"'))
    with pytest.raises(ConfigurationError, match=r"lab_rules_1\.toml: .*unit"):
        own_requirements(tmp_path)
