# SPDX-License-Identifier: MIT
"""The private memory of a TD on the machine, without a guest: its pool leaves the direct map on
every CPU, is used, converted and given back; a hypervisor that touches it or lies about it is
stopped or refused (rules X12 to X16)."""

import pytest

from conftest import CODES, hello

MADE = r"^# a TD's memory has left the direct map: 3 blocks, {0} flushes by {0} CPUs, in \d+ ticks$"
GONE = r"^# the TD is gone: {} operations refused, {} frames stuck, all memory was returned$"


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("words", ["", "nx_huge=off", "nx_huge=off huge=0"])
def test_private_memory_comes_and_goes(boot, cpus: int, words: str) -> None:
    result = boot(cmdline=f"provoke=td {words}", smp=cpus, guests=(hello(),))
    assert result.exit == CODES.OK, result
    assert result.has(MADE.format(cpus)), result
    assert result.has("^# measured 1, accepted 0 and 0, 0 frames wrong, converted 1 and 1$")
    assert result.has("^# accepted again: 0$")
    assert result.has(GONE.format(0, 0)) and not result.has("refuses"), result
    assert result.has(r"^# all memory was returned: \d+ pages are free$")


# The word, the refused operation and its status, the consequence, and the numbers of refused
# operations and of stuck frames.
LIES = {
    "frame": ("page_aug", "FREE", "TDX_PAGE_METADATA_INCORRECT", 1, 0),
    "map": ("page_aug", "PENDING", "TDX_EPT_ENTRY_STATE_INCORRECT", 0, 0),
    "add": ("page_add", "FREE", "TDX_OP_STATE_INCORRECT", 1, 0),
    "block": ("page_remove", "MAPPED", "TDX_GPA_RANGE_NOT_BLOCKED", 1, 1),
    "track": ("page_remove", "BLOCKED", "TDX_TLB_TRACKING_NOT_DONE", 1, 1),
    "remove": ("page_aug", "FREE", "TDX_PAGE_METADATA_INCORRECT", 1, 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused(boot, lie: str) -> None:
    call, state, status, refused, stuck = LIES[lie]
    result = boot(cmdline=f"provoke=lie_{lie}", smp=2, guests=(hello(),))
    assert result.exit == CODES.OK, result
    assert result.has(
        rf"^error: the secure side refuses {call} of guest frame 0x\w+ at level 1 with page "
        rf"0x\w+: its entry is {state}, status {status} \(0xc\w+\); nothing has changed, and no "
        r"page is lost$"), result
    assert result.has(GONE.format(refused, stuck)), result
    assert result.has(r"^# all memory was returned: \d+ pages are free$")


def test_a_private_page_is_not_touched(boot) -> None:
    result = boot(cmdline="provoke=private", guests=(hello(),))
    assert result.exit == CODES.PANIC, result
    assert result.has(r"read of ffff8\w+: physical 0x\w+: the hypervisor touched a TD's private "
                      r"page, which only the secure side may do, through its windows$"), result
