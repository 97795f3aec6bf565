# SPDX-License-Identifier: MIT
"""INIT and start-up IPIs, for vCPUs with a CPU each and for vCPUs that share one."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize("argument", ["", "x2apic"])
@pytest.mark.parametrize("smp", [1, 2])
def test_init_leaves_nothing(boot, smp: int, argument: str) -> None:
    guest = Guest(BUILD / "guest/init.elf", ("testctl", "vcpus=2", "budget=60000"), argument)
    result = boot(smp=smp, guests=(guest,))
    assert result.status == 0, result
