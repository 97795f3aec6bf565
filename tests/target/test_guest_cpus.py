# SPDX-License-Identifier: MIT
"""What a guest finds of its machine: the ACPI tables in its BIOS area, and CPUID."""

import pathlib
import re
import subprocess
from dataclasses import replace

import pytest
from conftest import BUILD, Guest


def cpus_guest(vcpus: int, *words: str) -> Guest:
    return Guest(BUILD / "guest/cpus.elf", ("testctl", f"vcpus={vcpus}", *words), "dump")


def disassembled(folder: pathlib.Path, lines: list[str], name: str) -> str:
    """The output of iasl for a table that the guest has printed."""
    found = [line.split()[2:] for line in lines if line.startswith(f"    # {name} ")]
    table = folder / f"{name}.dat"
    table.write_bytes(bytes(int(byte, 16) for line in found for byte in line))
    done = subprocess.run(["iasl", "-d", table], cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    text = table.with_suffix(".dsl").read_text()
    assert not re.search("error|warning|invalid|incorrect", done.stdout + text, re.IGNORECASE)
    return text


@pytest.mark.parametrize(("vcpus", "smp"), [(1, 1), (3, 2), (16, 4)])
def test_madt_and_cpuid_tell_the_truth(boot, tmp_path: pathlib.Path, vcpus: int, smp: int) -> None:
    result = boot(smp=smp, guests=(cpus_guest(vcpus),))
    assert result.status == 0, result
    cases = {case.name: case.counters for case in result.output.cases}
    assert cases["each_starts"]["cpus"] == vcpus
    assert cases["cpuid_agrees"]["highest_leaf"] >= 0xB, "leaf 0xb was not looked at"

    madt = disassembled(tmp_path, result.lines, "APIC")
    assert re.findall(r"Local Apic ID : (\w+)", madt) == [f"{i:02X}" for i in range(vcpus)]
    assert madt.count("Processor Enabled : 1") == vcpus
    assert "Local Apic Address : FEE00000" in madt
    xsdt = disassembled(tmp_path, result.lines, "XSDT")
    assert len(re.findall(r"ACPI Table Address +\d+ : ", xsdt)) == 1


def test_tables_of_a_pc(boot, tmp_path: pathlib.Path) -> None:
    """What iasl says of them, where the hosted test compares bytes."""
    bus = replace(cpus_guest(1, "pci"), name="bus")
    disks = (Guest(BUILD / "guest/hello.elf", ("disk",), "", "+a"),
             Guest(BUILD / "guest/hello.elf", ("disk=ro",), "", "+b"))  # fmt: skip
    result = boot(guests=(cpus_guest(2, "pc"), *disks, bus), smp=2)
    assert result.status == 0, result
    border = next(i for i, line in enumerate(result.lines) if line.startswith("# bus: "))
    pc, pci = result.lines[:border], result.lines[border:]
    madt = disassembled(tmp_path, pc, "APIC")
    assert madt.count("Processor Enabled : 1") == 2
    assert re.findall(r"I/O Apic ID : (\w+)", madt) == ["00"]
    assert re.search(r"Address : FEC00000\n.*Interrupt : 00000000", madt)
    fadt = disassembled(tmp_path, pc, "FACP")
    for expected in ("Hardware Reduced (V5) : 1", "Reset Register Supported (V2) : 1",
                     "CMOS RTC Not Present (V5) : 0", "8042 Present on ports 60/64 (V2) : 0",
                     "Value to cause reset : 06"):  # fmt: skip
        assert expected in fadt, expected
    places = re.findall(r"(\w+ Register) : \[Generic.*?Address : 0*(\w+)\n", fadt, re.S)
    assert dict(places) == {"Reset Register": "CF9", "Control Register": "600",
                            "Status Register": "601"}  # fmt: skip
    dsdt = disassembled(tmp_path, pc, "DSDT")
    for pattern in (r"Name \(_S5, Package \(0x04\).*?0x05,", r'EisaId \("PNP0501"\)',
                    r"0x03F8, +// Range Min", r"Interrupt \(ResourceConsumer, Edge, ActiveHigh",
                    r'EisaId \("PNP0B00"\)', r"0x0070, +// Range Min"):  # fmt: skip
        assert re.search(pattern, dsdt, re.S), pattern
    found = re.findall(r'"LNRO0005"\).*?(0xFE20\w+),.*?(0x\w+),.*?(\w+), ActiveHigh.*?0x(\w+),',
                       dsdt, re.S)  # fmt: skip
    assert found == [("0xFE200000", "0x00000200", "Level", "00000010"),
                     ("0xFE201000", "0x00000200", "Level", "00000011")], dsdt  # fmt: skip

    mcfg = disassembled(tmp_path, pci, "MCFG")
    for expected in ("Base Address : 00000000E0000000", "Segment Group Number : 0000",
                     "Start Bus Number : 00", "End Bus Number : 00"):  # fmt: skip
        assert expected in mcfg, mcfg
    dsdt = disassembled(tmp_path, pci, "DSDT")
    for pattern in (r'EisaId \("PNP0A08"\)',
                    r"DWordMemory \(ResourceProducer, PosDecode, MinFixed,",
                    r"0xE0100000, +// Range Min.*?0xFBFFFFFF, +// Range Max",
                    r"Method \(_OSC, 4,", r'EisaId \("PNP0C02"\).*?0xE0000000'):  # fmt: skip
        assert re.search(pattern, dsdt, re.S), pattern
    routes = re.findall(r"0x(\w+)FFFF,\s+Zero,\s+Zero,\s+0x(\w+)", dsdt)
    assert [(int(device, 16), int(pin, 16)) for device, pin in routes] == [
        (device, 16 + device % 8) for device in range(1, 32)]  # fmt: skip


@pytest.mark.parametrize("apicv", [0, 1])
def test_x2apic(boot, apicv: int) -> None:
    """N30, N33: the same whether the CPU delivers the interrupts or not; and then with fewer exits.
    Of EOIs, those of level-triggered vectors exit then, one of which is raised six times."""
    guests = (Guest(BUILD / "guest/x2apic.elf", ("testctl", "vcpus=2")),
              Guest(BUILD / "guest/lapic.elf", ("testctl",), "x2apic"),
              Guest(BUILD / "guest/init.elf", ("testctl", "vcpus=2"), "x2apic"),
              Guest(BUILD / "guest/pc.elf", ("testctl", "pc", "vcpus=2"), "x2apic"))  # fmt: skip
    result = boot(smp=2, guests=guests, cmdline=f"apicv={apicv} poison=1")
    assert result.status == 0, result
    who = "CPU" if apicv else "hypervisor (apicv=0)"
    assert f"apicv: interrupts of x2APICs are delivered by the {who}" in result.lines, result
    (level,) = [case for case in result.output.cases if case.name == "level"]
    assert level.counters["eoi_exits"] == 6 * apicv, result


@pytest.mark.parametrize("vcpus", [1, 2])
@pytest.mark.parametrize("words", ["", "gva_cache=exits"])
def test_cpuid_follows_the_guest(boot, vcpus: int, words: str) -> None:
    guest = Guest(BUILD / "guest/cpuid.elf", ("testctl", f"vcpus={vcpus}"))
    result = boot(smp=vcpus, guests=(guest,), cmdline=words)
    assert result.status == 0, result
    cases = {case.name: case.counters for case in result.output.cases}
    assert cases["xsave_sizes"]["taken"] >= 4
    assert cases["after_init"]["cpus"] == vcpus
