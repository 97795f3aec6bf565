# SPDX-License-Identifier: MIT
"""CPUID, MSRs, CR4 and XCR0 agree, on CPUs of several generations."""

import pytest
from conftest import BUILD, Guest

MODELS = ["corei7_icelake_u", "corei7_skylake_x", "corei3_cnl", "corei7_haswell_4770",
          "corei7_ivy_bridge_3770k", "corei5_arrandale_m520"]  # fmt: skip


@pytest.mark.parametrize("cpu", MODELS)
def test_what_is_said_is_there(boot, cpu: str) -> None:
    result = boot(cpu=cpu, guests=(Guest(BUILD / "guest/features.elf", ("testctl",)),))
    assert result.status == 0, result
