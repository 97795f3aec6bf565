# SPDX-License-Identifier: MIT
"""Writes to tracked pages that no emulated instruction makes."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize("cmdline", ["", "ept_ad=0", "pml=0", "mmio_caching=0"])
def test_tracking_goes_on(boot, cmdline: str) -> None:
    result = boot(cmdline=cmdline, guests=(Guest(BUILD / "guest/tracked.elf", ("testctl",)),))
    assert result.status == 0, result


@pytest.mark.parametrize(
    ("smp", "vcpus", "cmdline"),
    [
        pytest.param(2, 2, "", id="2"),
        pytest.param(2, 2, "ept_ad=0", id="2-ept_ad=0"),
        pytest.param(4, 4, "", id="4"),
        pytest.param(2, 3, "", id="3-on-2"),
    ],
)
def test_several_write_to_one_page(boot, smp: int, vcpus: int, cmdline: str) -> None:
    """S4, N10: while the page is open for one CPU, the stores of others also succeed; none is
    lost."""
    words = ("testctl", f"vcpus={vcpus}", "budget=100000")
    guest = Guest(BUILD / "guest/smp_tracked.elf", words, "10")
    result = boot(smp=smp, guests=(guest,), cmdline=cmdline)
    assert result.status == 0, result
    if vcpus == smp:
        cases = {case.name: case.counters for case in result.output.cases}
        assert cases["beside_stores"]["unseen"] > 0, "nobody wrote while the page was open"
