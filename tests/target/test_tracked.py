"""Writes to tracked pages that no emulated instruction makes."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize("cmdline", ["", "ept_ad=0", "pml=0", "mmio_caching=0"])
def test_tracking_goes_on(boot, cmdline: str) -> None:
    result = boot(cmdline=cmdline, guests=(Guest(BUILD / "guest/tracked.elf", ("testctl",)),))
    assert result.status == 0, result
