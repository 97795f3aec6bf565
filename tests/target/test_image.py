# SPDX-License-Identifier: MIT
"""What `make image` and `make netboot` make (N91): each firmware can boot it, its menu obeys the
keyboard and the serial port, and each boot ends with the right verdict."""

import contextlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import BUILD, CODES, LONG, OTHER, ROOT, Person, listed, need_made
from test_screen import SAVE_PICTURE, Picture

from harness import grub, menu, session, terminal
from harness.boot import Boot, Guest
from harness.errors import HarnessError, Status

NAME = "test-image"
ISO = BUILD / f"eptvisor-{NAME}.iso"
NETBOOT = BUILD / f"netboot-{NAME}"
FILES = NETBOOT / "boot/grub"
SECTOR, BLOCK = 512, 2048
# The names that firmware looks for on a medium that it has not seen before (UEFI 2.10, 3.5.1.1).
EFI_PROGRAMS = ("/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/BOOTIA32.EFI")
ESP = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")  # the type of an EFI system partition


def make(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "GUESTS"}
    words = [f"{key}={value}" for key, value in variables.items()]
    return subprocess.run(["make", target, f"NAME={NAME}", *words], cwd=ROOT, env=env, text=True,
                          capture_output=True, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def image() -> pathlib.Path:
    need_made("build/kvm/kernel")
    done = make("netboot", WAIT="1")
    assert done.returncode == 0, done.stderr
    assert f"image: {ISO} has " in done.stdout
    assert f"netboot: {NETBOOT}/ is complete; docs/BARE_METAL.md says" in done.stdout
    assert (NETBOOT / "eptvisor.iso").samefile(ISO)
    return ISO


def test_each_firmware_finds_its_part(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A BIOS starts the first sector of a stick, or the boot image of a disc. UEFI looks for a
    partition, or the boot image of a disc, with a program of a known name."""
    data = image.read_bytes()
    assert data[510:512] == b"\x55\xaa"
    assert any(data[:440]), "the first sector has no code"
    signature, entries, size = data[512:520], *struct.unpack_from("<QI", data, 512 + 72)
    assert signature == b"EFI PART"
    start = entries * SECTOR
    partitions = [data[at : at + 128] for at in range(start, start + 128 * size, 128)]
    (esp,) = [entry for entry in partitions if entry[:16] == ESP]
    first, last = struct.unpack_from("<QQ", esp, 32)
    volume = tmp_path / "esp.img"
    volume.write_bytes(data[first * SECTOR : (last + 1) * SECTOR])
    for program in EFI_PROGRAMS:
        subprocess.run(["mtype", "-i", volume, f"::{program}"], check=True, capture_output=True)
    # El Torito: the boot record names a catalog, which has an image for a BIOS and one for UEFI.
    record = data[17 * BLOCK : 18 * BLOCK]
    assert record[7:30] == b"EL TORITO SPECIFICATION"
    (at,) = struct.unpack_from("<I", record, 71)
    catalog = data[at * BLOCK : (at + 1) * BLOCK]
    assert (catalog[1], catalog[32], catalog[65], catalog[96]) == (0, 0x88, 0xEF, 0x88)


def test_menu_offers_what_it_loads(image: pathlib.Path) -> None:
    """Each file that the menu names is there, in both media, and the guests of `make run` are
    all."""
    config = (FILES / "grub.cfg").read_text()
    files = set(re.findall(r"^if ! \w+ \$prefix/(\S+)", config, re.M))
    assert len(files) > 20
    for tree in (NETBOOT, BUILD / f"image/eptvisor-{NAME}"):
        assert (tree / "boot/grub/grub.cfg").read_text() == config
        for file in files:
            assert (tree / "boot/grub" / file).is_file(), file
    checks = config.split("--id checks ")[1].split("\n}\n")[0]
    given = re.findall(r"module2 \S+ '(\S+)'", checks)
    assert given == [guest.name for guest in listed("run-guests")]
    assert "\nset on_exit=halt\nset words=\n" in config
    assert all(" on_exit=$on_exit $words; then" in line
               for line in config.splitlines() if "multiboot2" in line)  # fmt: skip
    stress = config.split("--id stress ")[1].split("\n}\n")[0]
    assert {"smp_flush", "smp_slots", "storm_slots", "storm_flush"} <= set(
        re.findall(r"module2 \S+ '(\S+)'", stress)
    )


def test_a_bad_wish_is_refused(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name, value, message in (
        ("DEFAULT", "lunch", "DEFAULT=lunch: the menu has checks, report, linux, stress, shell, "),
        ("WAIT", "long", "WAIT=long is not a number of seconds"),
    ):
        done = subprocess.run(["tools/image.py", "image"], cwd=ROOT, text=True, check=False,
                              env=os.environ | {"NAME": "test-wish", name: value},
                              capture_output=True)  # fmt: skip
        assert done.returncode == Status.NOT_STARTED
        assert done.stderr.startswith(f"image: {message}"), done.stderr
    one, other = Guest(pathlib.Path("/a/x/y.elf")), Guest(pathlib.Path("/b/x/y.elf"))
    entry = menu.Entry("x", "x", "x", guests=(one, other))
    with pytest.raises(HarnessError, match=r"/a/x/y.elf and /b/x/y.elf would be the same file"):
        menu.write_files(tmp_path, (entry,), "")
    assert not list(tmp_path.iterdir())


def test_another_way_is_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = (menu.Way(), menu.Way("mute", "m", "Mute", "serial=off say=off"))
    monkeypatch.setattr(menu, "WAYS", ways)
    offered = (menu.Entry("one", "1", "One", "x=1"), menu.Entry("two", "2", "It's two"),
               menu.Entry("three", "t", "Three", by_serial=True))  # fmt: skip
    first, mute = menu.config(offered, "two-mute", 5).split("submenu ")
    assert "set timeout=5\nset default='mute>two-mute'\n" in first
    assert mute.startswith("'m  Mute' --id mute --hotkey=m {\n")
    heads = re.findall(r"^menuentry '(.*)' --id (\S+) --hotkey=(\w) {$", first + mute, re.M)
    assert heads == [
        ("1  One", "one", "1"), ("2  It'\\''s two", "two", "2"), ("t  Three", "three", "t"),
        ("1  One", "one-mute", "1"), ("2  It'\\''s two", "two-mute", "2"),
    ]  # fmt: skip
    assert "eptvisor.elf 'x=1' on_exit=$on_exit $words; then" in first
    assert "eptvisor.elf 'x=1' 'serial=off' 'say=off' on_exit=$on_exit $words; then" in mute


# ---- Booting it -------------------------------------------------------------------------------


def try_image(image: pathlib.Path, *boots: str, **variables: str) -> list[str]:
    """Returns the verdicts, after all boots have ended as they have to."""
    env = os.environ | {"IMAGE": str(image), "NETBOOT": str(NETBOOT), "NAME": NAME} | variables
    done = subprocess.run(["tools/try-image.sh", *boots], cwd=ROOT, env=env, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def test_boots_to_the_right_verdicts(image: pathlib.Path) -> None:
    """Bochs boots it as a disk, and QEMU gets it from a server of TFTP by PXE."""
    verdicts = try_image(image, "bochs-bios", "net-bios")
    assert verdicts == ["ok bochs-bios: EXIT 0 ok", "ok net-bios: EXIT 10 no-vmx"]
    log = (BUILD / f"run/{NAME}-bochs-bios.txt").read_text()
    assert re.search(r"^boot: multiboot2 by GRUB .* command line \"on_exit=halt\"$", log, re.M)


def test_the_other_bochs_boots_it_by_uefi(image: pathlib.Path) -> None:
    """OVMF loads all files of the checks from the disk, and all of them pass there, too."""
    assert try_image(image, "bochs-efi", BOCHS=OTHER) == ["ok bochs-efi: EXIT 0 ok"]
    folder = BUILD / f"run/{NAME}-bochs-efi"
    assert f"Emulator {OTHER}" in (folder / "bochs.log").read_text(errors="replace")
    log = (folder / "serial.txt").read_text(errors="replace")  # GRUB paints its menu
    assert re.search(r"^boot: multiboot2 by GRUB .* command line \"on_exit=halt\"$", log, re.M)
    assert log.count("\nok ") == len(listed("run-guests")), log


def test_a_boot_that_fails_is_not_ok(tmp_path: pathlib.Path) -> None:
    env = os.environ | {"IMAGE": str(tmp_path / "nothing.iso"), "NAME": NAME}
    done = subprocess.run(["tools/try-image.sh", "qemu-bios", "qemu-lunch"], cwd=ROOT, env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout.startswith("not ok qemu-bios: status 123, no EXIT line instead of EXIT 10")
    assert "there is no boot qemu-lunch" in done.stderr
    assert done.returncode == 123
    log = (BUILD / f"run/{NAME}-qemu-bios.txt").read_text()
    assert "nothing.iso: no such file; `make image` and `make netboot` make some" in log


def test_uefi_gives_it_a_screen(boot, image: pathlib.Path) -> None:
    result = boot(machine="qemu-tcg", method="grub-efi", medium=image, guests=(),
                  monitor=(SAVE_PICTURE,))  # fmt: skip
    assert result.exit == CODES.NO_VMX, result
    shown = Picture(result.run.boot.folder / "screen.ppm")
    first = "eptvisor: a hypervisor for trying ideas about memory virtualization"
    assert shown.text(0, 0, 1) == first


@contextlib.contextmanager
def keyboard(path: pathlib.Path) -> Iterator[Callable[[str], None]]:
    """The keyboard of a QEMU, whose monitor presses a key."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        yield lambda key: monitor.sendall(f"sendkey {key}\n".encode())


def test_the_menu_obeys_both_and_names_a_missing_file(
    image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The keyboard chooses an entry of which a file is missing, and the serial port GRUB's prompt.
    GRUB must not boot what it has loaded before the missing file."""
    data = image.read_bytes()
    assert data.count(b"guest/smp_ve.elf") == 4
    damaged = tmp_path / "damaged.iso"
    damaged.write_bytes(data.replace(b"guest/smp_ve.elf", b"guest/smp_vx.elf")
                        .replace(b"set timeout=1\n", b"set timeout=9\n"))  # fmt: skip
    with terminal.listen() as server:
        server.settimeout(LONG)
        plan = Boot(name="image-menu", machine="qemu-tcg", method="grub-bios", medium=damaged,
                    serial_port=server.getsockname()[1],
                    qemu_words=("-monitor", "unix:keyboard,server=on,wait=off"))  # fmt: skip
        command = session.prepare(plan)
        command.remove("-no-reboot")
        with session.started(command, plan) as process:
            connection, _ = server.accept()
            person = Person(connection, process)
            person.wait_for(b"Restart the machine")
            with keyboard(plan.folder / "keyboard") as press:
                press("4")
                person.wait_for(b"smp_vx.elf' not found")
            person.wait_for(b"GRUB could not load (hd0")
            person.wait_for(b"If the copy is damaged or incomplete, make another one.")
            person.wait_for(b"ESC restarts the machine")
            person.type(b"\x1b")
            assert b"eptvisor: " not in person.wait_for(b"Restart the machine")
            person.type(b"c")
            person.wait_for(b"grub> ")


# ---- The harness ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "optrom"}, "MEDIUM= is booted by its own GRUB: METHOD=grub-bios or grub-efi"),
        ({"cmdline": "x"}, "MEDIUM= has guests and command lines of its own"),
        ({"medium": pathlib.Path("/no/file")}, "MEDIUM=/no/file: no such file; `make image` and"),
        ({"medium": ROOT}, "only QEMU boots from a server: MACHINE=qemu-tcg or qemu-kvm"),
        ({"medium": None, "machine_type": "q35"}, "only QEMU's machine can be varied by words"),
    ],
)
def test_a_boot_that_makes_no_sense(fields: dict, message: str) -> None:
    file = pathlib.Path(__file__)
    with pytest.raises(HarnessError, match=re.escape(message)):
        Boot(**({"name": "x", "method": "grub-bios", "medium": file} | fields))


def test_a_stick_is_larger_than_the_image(monkeypatch, tmp_path: pathlib.Path) -> None:
    """Bochs wants whole cylinders, and what follows the image on a stick is not a part of it."""
    monkeypatch.setattr("harness.boot.BUILD", tmp_path)
    (tmp_path / "image").write_bytes(b"x" * 2 * grub.CYLINDER)
    plan = Boot(name="x", method="grub-bios", medium=tmp_path / "image")
    plan.folder.mkdir(parents=True)
    data = grub.make_stick(plan).read_bytes()
    assert data == b"x" * 2 * grub.CYLINDER + bytes(grub.CYLINDER)
