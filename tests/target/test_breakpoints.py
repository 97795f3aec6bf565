# SPDX-License-Identifier: MIT
"""RF around instructions that exit, and the registers that change only by exits."""

import pytest
from conftest import BUILD

from harness.boot import Guest


@pytest.mark.parametrize("poison", ["poison=0", "poison=1"])
@pytest.mark.parametrize("caching", ["", "mmio_caching=0"])
def test_each_is_met_once(boot, poison: str, caching: str) -> None:
    """With poison=1, RF is saved as by a CPU, which Bochs 2.7 does not do."""
    guest = Guest(BUILD / "guest/breakpoints.elf", ("testctl",))
    result = boot(cmdline=f"{poison} {caching}", guests=(guest,))
    assert result.status == 0, result
    (case,) = [case for case in result.output.cases if case.name == "retried"]
    if poison == "poison=1":
        assert case.counters["retried"] == case.counters["hits"], result


@pytest.mark.parametrize("mode", ["off", "exits", "verify"])
def test_registers_that_only_exits_change(boot, mode: str) -> None:
    guest = Guest(BUILD / "guest/regime.elf", ("testctl", f"gva_cache={mode}"))
    result = boot(guests=(guest,))
    assert result.status == 0, result
