# SPDX-License-Identifier: MIT
"""Data and I/O breakpoints on instructions that the hypervisor completes, with and without its fast
paths."""

import pytest
from conftest import BUILD, Guest


@pytest.mark.parametrize("words", [(), ("gva_cache=off",), ("gva_cache=exits",)])
def test_watchpoints_hold(boot, words: tuple[str, ...]) -> None:
    guest = Guest(BUILD / "guest/watchpoints.elf", ("testctl", "budget=60000", *words))
    result = boot(guests=(guest,))
    assert result.status == 0, result


def test_watchpoints_hold_by_violations(boot) -> None:
    guest = Guest(BUILD / "guest/watchpoints.elf", ("testctl", "budget=60000"))
    result = boot(cmdline="mmio_caching=0", guests=(guest,))
    assert result.status == 0, result
