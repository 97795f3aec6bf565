# SPDX-License-Identifier: MIT
"""PCs of several kinds, and PCs that lack what a PC once had: each boot ends with the right message
on whatever output the machine has. QEMU's TCG has no VMX, which is the last thing to be said. A PC
with 900 GiB is in test_bare_metal.py."""

import pathlib
import re
import shutil
import subprocess
import time

import pytest
from conftest import CODES, Result, hello
from test_screen import SAVE_TEXT, text_mode

from harness import menu, session
from harness.boot import Boot

PATIENCE = 120.0  # seconds until a screen or a console shows the end
OLD_CLOCKS = "by the HPET, confirmed by the PM timer, the PIT"
# What a PC of today may lack: the clock of its PIT, the HPET, a keyboard controller, and other
# devices of the chipset.
WITHOUT = ("pit=off", "hpet=off", "i8042=off", "vmport=off", "smbus=off", "sata=off", "usb=off")
REFUSAL = (
    r"^error: this CPU has no VMX: CPUID\.1:ECX bit 5 is 0$",
    "^error:   another accelerator, because TCG has no VMX at all: start QEMU with",
)


def refused(boot, **fields) -> Result:
    result = boot(machine="qemu-tcg", method="kernel", **({"guests": ()} | fields))
    assert result.exit == CODES.NO_VMX, result
    assert result.status == CODES.NO_VMX[0], result
    for line in REFUSAL:
        assert result.has(line), (line, result)
    assert not result.has("panic|BUG|WARN"), result
    return result


# The machine, and lines that its log has beside the last ones.
PCS = {
    "pc": ({}, [f"^TSC: .* {OLD_CLOCKS}$", "^cpus: 1 in use of 1 that ACPI lists"]),
    "q35": ({"machine_type": "q35"}, [f"^TSC: .* {OLD_CLOCKS}$", "^cpus: 1 in use of 1"]),
    "q35-of-today": (
        {"machine_type": "q35", "machine_words": WITHOUT, "display": "", "smp": 2},
        ["^TSC: .* by the PM timer; nothing confirms it; the PIT stands still$",
         "^legacy: by ACPI, this machine has no keyboard controller$",
         "^cpus: 2 in use of 2 that ACPI lists"],
    ),
    # It has a PIT, but not port 0x61, without which nobody can know whether a PIT counts.
    "microvm": (
        {"machine_type": "microvm", "display": "", "smp": 2},
        ["^legacy: by ACPI, this machine has no PIT, no keyboard controller$",
         "^TSC: .*: no clock counts, and the CPU does not report its rate$",
         "^cpus: 2 in use of 2 that ACPI lists"],
    ),
    "microvm-without-acpi": (
        {"machine_type": "microvm", "machine_words": ("acpi=off",), "display": "", "smp": 2},
        ["^TSC: .*: no clock counts, and the CPU does not report its rate; the PIT stands still$",
         "^MADT: ACPI has no usable table of CPUs; only the boot CPU is used$"],
    ),
    "64-cpus": ({"machine_type": "q35", "smp": 64}, ["^cpus: 64 in use of 64 that ACPI lists"]),
    "255-cpus": ({"machine_type": "q35", "smp": 255}, [r"^cpus: \d+ in use of 255 that ACPI"]),
}  # fmt: skip


@pytest.mark.parametrize("pc", PCS)
def test_refusal_by(boot, pc: str) -> None:
    fields, lines = PCS[pc]
    result = refused(boot, **fields)
    for line in lines:
        assert result.has(line), (line, result)


@pytest.mark.parametrize("word", WITHOUT)
def test_q35_without(boot, word: str) -> None:
    """One device after the other is missing, and one way to see the message: there is no screen."""
    refused(boot, machine_type="q35", machine_words=(word,), display="", guests=(hello(),))


# ---- Machines without a serial port -----------------------------------------------------------


def shown_by(name: str, **fields) -> list[str]:
    """Boots a PC without a serial port, and returns what its screen, in text mode, shows at last.
    The machine is stopped when it switches itself off, so that the screen remains."""
    boot = Boot(name=f"pcs-{name}", machine="qemu-tcg", method="kernel", console="none",
                monitor=(SAVE_TEXT,), **fields)  # fmt: skip
    shown: list[str] = []
    with session.started(session.prepare(boot), boot) as process:
        assert process.stdin
        deadline = time.monotonic() + PATIENCE
        while not any("EXIT " in line for line in shown):
            assert time.monotonic() < deadline, shown
            process.stdin.write(f"{SAVE_TEXT}\n".encode())
            process.stdin.flush()
            time.sleep(0.2)
            file = boot.folder / "text.bin"
            if file.is_file() and file.stat().st_size == 0x1000:
                shown = text_mode(file)
    assert not (boot.folder / "serial.txt").exists()
    return shown


@pytest.mark.parametrize(
    "fields", [{}, {"machine_type": "q35", "machine_words": WITHOUT, "smp": 2}], ids=["pc", "q35"]
)
def test_a_screen_is_enough(request, fields: dict) -> None:
    shown = shown_by(request.node.callspec.id, **fields)
    assert any("EXIT 10 no-vmx" in line for line in shown), shown
    assert any("TCG has no VMX at all: start QEMU with" in line for line in shown), shown


def test_neither_screen_nor_serial_port(boot) -> None:
    """Nobody can read anything, but the machine ends, and its debug port has the code."""
    result = boot(machine="qemu-tcg", method="kernel", machine_type="q35", machine_words=WITHOUT,
                  display="", console="none", guests=())  # fmt: skip
    assert result.run.emulator_status == 2 * CODES.NO_VMX[0] + 1, result


# ---- UEFI of 32 bits --------------------------------------------------------------------------

OVMF_32 = pathlib.Path("/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd")
VARIABLES_32 = OVMF_32.with_name("OVMF32_VARS_4M.fd")
GRUB_32 = pathlib.Path("/usr/lib/grub/i386-efi")


def test_uefi_of_32_bits(tmp_path: pathlib.Path) -> None:
    """Firmware as tablets have it, whose tables have pointers of 32 bits: by them the machine's
    name is found, and the screen is no text."""
    offered = menu.entries({})
    menu.write_files(tmp_path / "boot/grub", offered, menu.config(offered, "report", 0))
    subprocess.run(["grub-mkrescue", "-d", GRUB_32, "--fonts=", "--locales=", "--themes=", "-o",
                    "box.iso", tmp_path], cwd=tmp_path, check=True,
                   capture_output=True)  # fmt: skip
    boot = Boot(name="pcs-uefi-32", machine="qemu-tcg", method="grub-efi", machine_type="q35",
                machine_words=("smm=on",), medium=tmp_path / "box.iso")  # fmt: skip
    command = session.prepare(boot)
    shutil.copy(VARIABLES_32, boot.folder / "variables.fd")
    at = command.index("-bios")
    command[at : at + 2] = [
        "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_32}",
        "-drive", "if=pflash,unit=1,format=raw,file=variables.fd",
    ]  # fmt: skip
    console = boot.folder / "serial.txt"
    text = ""
    with session.started(command, boot) as process:
        deadline = time.monotonic() + PATIENCE
        while "\nEXIT " not in text:
            assert time.monotonic() < deadline and process.poll() is None, text
            time.sleep(0.1)
            text = console.read_text(errors="replace") if console.exists() else ""
    lines = text.splitlines()
    assert any(line.startswith("EXIT 10 no-vmx") for line in lines), text
    assert any(re.match("machine: QEMU Standard PC .*, firmware .* by .*(EDK|Kit) II", line)
               for line in lines), text  # fmt: skip
    assert any(re.match("report: loader: .*, EFI$", line) for line in lines), text
