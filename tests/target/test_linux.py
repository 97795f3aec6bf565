# SPDX-License-Identifier: MIT
"""Debian's stock kernel as a guest: it starts, finds its machine in order, and turns it off."""

import dataclasses
import os
import subprocess

import pytest
from conftest import CODES, ROOT, need_made
from harness import debian


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """The kernel is downloaded by apt. Without it, the tests of this file cannot run."""
    need_made("linux-files")


def start(boot, vcpus: int, cmdline: str = "", **fields):
    line = f"{debian.CMDLINE} {cmdline} check cpus={vcpus}"
    guests = debian.guests(cmdline=line, vcpus=vcpus, **fields)
    return boot(guests=guests, mem=debian.machine_memory(debian.MEM, guests), smp=vcpus,
                ips=debian.IPS, timeout=180)  # fmt: skip


@pytest.mark.parametrize("vcpus", [1, 2])
def test_the_cloud_kernel(boot, vcpus: int) -> None:
    result = start(boot, vcpus)
    assert result.status == 0, result
    assert len(result.output.cases) >= 8, result
    assert result.has("ACPI sleep state|reboot: Power down"), result


class Typist:
    """Somebody at the terminal of `make linux`, who waits for a text before the next is typed."""

    def __init__(self, **options: str) -> None:
        self.seen = b""
        words = [f"{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(["make", "-s", "linux", *words], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def __enter__(self) -> "Typist":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def wait_for(self, text: bytes) -> None:
        while text not in self.seen:
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, self.seen
            self.seen += data
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()


def test_somebody_at_the_console() -> None:
    """The prompt is there without a newline, keys arrive, ^C is the guest's, and so are the escape
    sequences by which `resize` asks a terminal for its size."""
    with Typist(NAME="linux-console") as person:
        person.wait_for(b"/ # ")
        person.type(b"echo result-$((6 * 7))\n")
        person.wait_for(b"result-42")
        person.wait_for(b"/ # ")
        person.type(b"echo sleeping; sleep 100000\n")
        person.wait_for(b"\nsleeping")
        person.type(b"\x03")
        person.wait_for(b"/ # ")
        person.type(b"resize && stty size\n")
        person.wait_for(b"\x1b[999;999H\x1b[6n")
        person.type(b"\x1b[45;132R")
        person.wait_for(b"COLUMNS=132;LINES=45;")
        person.wait_for(b"\n45 132\r")
        person.wait_for(b"/ # ")
        person.type(b"poweroff -f\n")
        person.wait_for(b"EXIT 0 ok")
        assert person.process.wait(60) == 0


def test_two_vms_with_disks(tmp_path) -> None:
    """^A 2 turns to the second VM. Both have the disks, and each VM its own copy of what it
    writes."""
    disk, read_only = tmp_path / "disk", tmp_path / "ro"
    disk.write_bytes(b"first sector".ljust(512) + bytes(512 * 63))
    read_only.write_bytes(b"not to be written".ljust(512))
    options = {"VMS": "2", "MEM": "96", "DISK": f"{disk} {read_only}:ro", "ESCAPE": "b"}
    with Typist(NAME="linux-two", **options) as person:
        person.wait_for(b"/ # ")
        person.type(b"hostname ada; hostname\n")
        person.wait_for(b"\nada")
        person.wait_for(b"/ # ")
        person.type(b"\x022\n")
        person.wait_for(b"# console: VM 2 linux2")
        person.wait_for(b"/ # ")
        person.type(b"hostname\n")
        person.wait_for(b"\n(none)")
        person.type(b"\x02?")
        person.wait_for(b"# console: VM 1 linux\r\n# console: VM 2 linux2, which has the input\r\n")
        person.type(b"poweroff -f\n")
        person.wait_for(b"ok 2 linux2")
        person.wait_for(b"# console: VM 1 linux")
        person.type(b"hostname\n")
        person.wait_for(b"\nada")
        person.type(b"\x02x")
        person.wait_for(b"EXIT 4 stopped")
        assert person.process.wait(60) == 0


def test_a_reboot(boot) -> None:
    """Linux resets its VM, which starts anew, until its budget is used up."""
    guests = debian.guests(cmdline=f"{debian.CMDLINE} rdinit=/bin/busybox -- reboot -f", mem=96,
                           words=("reset=again", "expect=any"))  # fmt: skip
    guests = (dataclasses.replace(guests[0], words=tuple(
        "budget=20000" if word.startswith("budget=") else word for word in guests[0].words)),
        *guests[1:])  # fmt: skip
    result = boot(guests=guests, mem=debian.machine_memory(96, guests), ips=debian.IPS,
                  timeout=180)  # fmt: skip
    assert result.status == 0, result
    assert result.has(r"^# linux: reset, by port 0xcf9; it starts again"), result
    assert result.has(r"^ok 1 linux # ended=budget exits=\d+ resets=\d+"), result


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"KERNEL": "/no/such"}, "KERNEL=/no/such: there is no such file; give a bzImage or a "
                                 "vmlinux for x86-64"),
        ({"KERNEL": "/"}, "KERNEL=/: this is not a file; give a bzImage"),
        ({"INITRD": "{empty}"}, "this file is empty; give an initramfs"),
        ({"DISK": "/no/such:ro"}, "DISK=/no/such: there is no such file; give the image of a disk"),
        ({"DISK": "{short}"}, "look at VCPUS=, MEM= and DISK=; a disk has at least 512 bytes"),
        ({"KERNEL": "{text}"}, "KERNEL= takes a bzImage or a vmlinux for x86-64"),
        ({"MEM": "32"}, "give the VM more RAM with MEM="),
        ({"ESCAPE": "1"}, "ESCAPE= takes a letter, or off"),
        ({"VMS": "0"}, "VMS=0: a number from 1 on"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_bad_option(options: dict[str, str], text: str, tmp_path) -> None:
    files = {"empty": b"", "short": b"x" * 511, "text": b"#!/bin/sh\n" * 500}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: str(tmp_path / name) for name in files}
    words = {name: value.format(**paths) for name, value in options.items()}
    run = subprocess.run(["/usr/bin/python3", "tools/linux.py"], cwd=ROOT, capture_output=True,
                         text=True, check=False, stdin=subprocess.DEVNULL,
                         env=os.environ | words | {"NAME": "linux-bad"})  # fmt: skip
    assert run.returncode not in (0, 4), run
    assert run.stderr.startswith("linux: ") and text in run.stderr, run
    assert len(run.stderr.splitlines()) == 1, run


def test_a_kernel_without_room(boot) -> None:
    guests = debian.guests(mem=32)
    result = boot(guests=guests, mem=debian.machine_memory(32, guests))
    assert result.exit == CODES.GUEST_TOO_LARGE, result
    assert result.has(r"linux: no room for its kernel, which needs \d+ bytes from 0x\w+ on")


def test_a_kernel_that_is_cut_off(boot, tmp_path) -> None:
    short = tmp_path / "vmlinuz"
    short.write_bytes(debian.KERNEL.read_bytes()[:-4096])
    result = boot(guests=debian.guests(kernel=short), mem=448)
    assert result.exit == CODES.MODULE_TRUNCATED, result
    assert result.has("linux: its kernel needs "), result
