# SPDX-License-Identifier: MIT
"""The harness: builds machines around the image, runs them and judges what they print.

boot.py says what a run is. elf.py, payload.py and grub.py turn it into something that boots,
bochs.py and qemu.py into an emulator's command, session.py runs that, serial.py judges it.
"""
