# SPDX-License-Identifier: MIT
"""What the guest of a TD sees of its CPU: CPUID, MSRs, control registers, I/O and HLT."""

import pytest
from conftest import BUILD
from harness.boot import Guest


@pytest.mark.parametrize("vcpus", [1, 4])
def test_the_cpu_of_a_td(boot, vcpus: int) -> None:
    guest = Guest(BUILD / "guest/td_cpu.elf", ("tdx", f"vcpus={vcpus}"))
    result = boot(smp=vcpus, guests=(guest,))
    assert result.status == 0, result
    assert result.passed("td_cpu"), result
