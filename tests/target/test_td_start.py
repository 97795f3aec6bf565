# SPDX-License-Identifier: MIT
"""The boot shim of a TD: the state in which it starts the kernel, on one CPU and on several, with
little and with much memory; and programs that cannot be TDs."""

import re
import subprocess

import pytest
from conftest import BUILD, CODES
from harness.boot import Guest

GUEST = BUILD / "guest"


def td(*words: str, program: str = "td_start", **fields: str) -> Guest:
    return Guest(GUEST / f"{program}.elf", ("tdx", "budget=60000", *words), **fields)


@pytest.mark.parametrize("smp", [1, 2])
@pytest.mark.parametrize("vcpus", [1, 2, 4, 16])
def test_a_kernel_is_started_and_its_cpus_wait(boot, vcpus: int, smp: int) -> None:
    result = boot(smp=smp, guests=(td(f"vcpus={vcpus}", "measure=0"),), cmdline="nx_huge=off")
    assert result.status == 0, result
    (case,) = [c for c in result.output.cases if c.path == "td_start/the_mailbox_wakes_each"]
    assert case.counters["cpus"] == vcpus, result


@pytest.mark.parametrize("method", ["optrom", "grub-bios"])
def test_each_way_to_boot_has_the_shim(boot, method: str) -> None:
    """UEFI is in test_smp.py."""
    result = boot(method=method, guests=(td("measure=0"),))
    assert result.status == 0, result


@pytest.mark.parametrize("memory", ["2M", "3M", "2052K", "300M"])
def test_all_memory_is_accepted(boot, memory: str) -> None:
    guests = (td(f"mem={memory}", "measure=0"),)
    result = boot(mem=768, guests=guests, cmdline="nx_huge=off")
    assert result.status == 0, result


@pytest.mark.parametrize(("memory", "units"), [(32, 15), (256, 127)])
def test_memory_is_left_to_the_kernel(boot, memory: int, units: int) -> None:
    """The shim leaves all memory to the kernel but the first 2 MiB, in which the program lies."""
    guests = (td(f"mem={memory}M", "accept=lazy"),)
    result = boot(mem=2 * memory + 128, guests=guests, cmdline="nx_huge=off")
    assert result.status == 0, result
    (case,) = [c for c in result.output.cases if c.path == "td_start/the_rest_can_be_accepted"]
    assert case.counters["units"] == units, result


def test_tds_beside_each_other(boot) -> None:
    """Each has its own shim, and other VMs have none."""
    pair = td("vcpus=2", "measure=0", name="one"), td("vcpus=2", "measure=0", name="two")
    other = Guest(GUEST / "sides.elf", ("testctl", "shared=39", "execute_only=38"))
    result = boot(smp=2, guests=(*pair, other))
    assert result.status == 0, result
    assert result.passed("one") and result.passed("two") and result.passed("sides"), result


def test_a_reset_starts_the_td_anew(boot) -> None:
    """After a reset, the memory of the TD is unaccepted and has no old contents, and the CPUs that
    were woken wait for the mailbox again."""
    guest = td("vcpus=2", "measure=0", "mem=8M", "reset=again", args="reset", name="r")
    result = boot(smp=2, guests=(guest,), cmdline="nx_huge=off")
    assert result.status == 0, result
    text = "\n".join(result.lines)
    assert int(re.search(r"\nok 1 r # ended=exit .*resets=(\d+)", text)[1]) >= 2, result


def test_measurement_costs_instructions_only(boot) -> None:
    result = boot(guests=(td(),))
    assert result.status == 0, result


def test_words_that_contradict_a_td(boot) -> None:
    result = boot(guests=(td("execute_only=38"), td("entry=pvh", name="pvh"), td(name="good")))
    assert result.exit == CODES.MODULE_WORDS, result
    assert result.has("tdx and execute_only=38: a TD has no execute-only addresses"), result
    assert result.has("tdx and entry=pvh: the boot shim enters a kernel at its 64-bit"), result
    assert result.passed("good"), result


def test_a_multiboot_program_is_no_td(boot) -> None:
    result = boot(guests=(td(program="hello"),))
    assert result.exit == CODES.MODULE_BAD_KERNEL, result
    assert result.has("a multiboot program cannot be a TD, which starts in 64-bit mode"), result


def test_the_image_tool_says_what_is_added() -> None:
    """Pages ascend, and the contents of the shim's 16 pages alone are measured."""
    subprocess.run(["make", "-s", "build/tdimage"], check=True)
    program = GUEST / "td_start.elf"
    image = subprocess.run(
        [BUILD / "tdimage", program, "td_start tdx -- words"], capture_output=True, check=True
    ).stdout
    pages = [image[at : at + 4112] for at in range(0, len(image), 4112)]
    addresses = [int.from_bytes(page[:8], "little") for page in pages]
    measured = [int.from_bytes(page[8:16], "little") for page in pages]
    assert addresses == sorted(set(addresses))
    assert [a for a, m in zip(addresses, measured, strict=True) if m] == [
        0xFFFF0000 + 0x1000 * i for i in range(16)
    ]
    assert pages[-16][16:24] == b"EPTVSHIM"
    assert b"words\0" in image
