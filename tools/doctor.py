#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Lists which machines can be used here, what is missing, and how to install it."""

import shutil
import sys

from harness import host

# machine, method, purpose
USES = [
    ("bochs", "grub-bios", "make run: VT-x emulated, on any host"),
    ("bochs", "optrom", "make test: the quick way to boot"),
    ("bochs", "grub-efi", "UEFI with VT-x"),
    ("qemu-kvm", "grub-bios", "make run MACHINE=qemu-kvm: a real CPU, nested"),
    ("nested", "kernel", "make run MACHINE=nested: QEMU/KVM, itself in Bochs; a minute or two"),
    ("serial", "grub-bios", "make run MACHINE=serial PORT=...: a PC, read by its serial console"),
    ("qemu-tcg", "kernel", "no VT-x: shows how eptvisor refuses such a CPU"),
    ("qemu-tcg", "grub-efi", "no VT-x: shows how eptvisor refuses such a CPU"),
]
TOOLS = [
    ("gcc", "gcc", "building"),
    ("/usr/share/grub/unicode.pf2", "grub-common", "building: the screen's font"),
    ("clang", "clang", "make lint"),
    ("cppcheck", "cppcheck", "make lint"),
    ("/usr/include/cmocka.h", "libcmocka-dev", "make unit"),
    ("/usr/lib/python3/dist-packages/pytest", "python3-pytest", "make test"),
    ("/usr/lib/python3/dist-packages/xdist", "python3-pytest-xdist", "make test"),
]


def main() -> int:
    packages: set[str] = set()
    usable: set[str] = set()
    no_kvm = host.kvm_without_vmx()
    print("Machines")
    for machine, method, purpose in USES:
        absent = host.missing(host.boot_needs(machine, method))
        packages |= {host.PACKAGES[thing] for thing in absent}
        reason = f"missing: {', '.join(absent)}" if absent else ""
        if machine == "qemu-kvm" and no_kvm:
            reason = no_kvm
        if not reason:
            usable.add(machine)
        print(f"  {'no ' if reason else 'yes'}  {machine:9} {method:10} {reason or purpose}")
    print("Tools")
    for thing, package, purpose in TOOLS:
        found = host.present(thing)
        packages |= set() if found else {package}
        print(f"  {'yes' if found else 'no '}  {shutil.which(thing) or thing} ({purpose})")
    if packages:
        print("To install the missing packages (the make targets do so, unless NO_DEPS=1):")
        print(f"  apt-get install --no-install-recommends {' '.join(sorted(packages))}")
    best = host.best_machine()
    if best in usable:
        print(f"`make run` uses {best} here.")
    return 0 if best in usable and not packages else 1


if __name__ == "__main__":
    sys.exit(main())
