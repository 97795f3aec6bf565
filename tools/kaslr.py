# SPDX-License-Identifier: MIT
"""Adds the command `kaslr` to GDB: `source tools/kaslr.py`, after symbol-file and target remote.

A kernel with KASLR runs above the addresses of its symbols, by a multiple of 2 MiB that is smaller
than 1 GiB. The command finds this offset by the handler of vector 0, which the kernel's IDT names,
as crash(8) does, and loads the symbols again, with the offset. If the kernel has no IDT of its own
yet, the guest runs on in short pieces until it has.
"""

import os
import signal
import struct
import threading

import gdb  # type: ignore[import-not-found]

HANDLERS = ("asm_exc_divide_error", "early_idt_handler_array", "divide_error")
LOWEST, ALIGN, MOST = 0xFFFFFFFF80000000, 0x200000, 0x40000000
WORD = (1 << 64) - 1
PIECE = 0.2  # seconds
TRIES = 1500


def number(expression: str) -> int:
    return int(gdb.parse_and_eval(expression)) & WORD


def handler() -> int:
    """The address in gate 0 of the IDT; 0 if it cannot be read."""
    try:
        base = number("(unsigned long)$idtr_base")
        data = bytes(gdb.selected_inferior().read_memory(base, 16))
    except gdb.error:
        return 0
    low, _, _, middle, high, _ = struct.unpack("<HHHHII", data)
    return low | middle << 16 | high << 32


def offset_of(found: int, applied: int) -> int | None:
    """The offset by which the handler is `found`; `applied` is what the symbols have already."""
    for name in HANDLERS if found >= LOWEST else ():
        try:
            offset = found - (number(f"(unsigned long)&{name}") - applied)
        except gdb.error:
            continue
        if offset % ALIGN == 0 and 0 <= offset < MOST:
            return offset
    return None


def run_a_piece() -> None:
    """GDB would say where each piece ends, which not every version can be told to leave out."""
    gdb.flush()
    output = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    timer = threading.Timer(PIECE, os.kill, (os.getpid(), signal.SIGINT))  # as ^C does
    timer.start()
    try:
        gdb.execute("continue", to_string=True)
    finally:
        timer.cancel()
        gdb.flush()
        os.dup2(output, 1)
        os.close(output)


class Kaslr(gdb.Command):
    """Finds where a Linux kernel with KASLR is, and moves its symbols there."""

    def __init__(self) -> None:
        super().__init__("kaslr", gdb.COMMAND_STATUS)
        self.applied = 0

    def invoke(self, _argument: str, _from_tty: bool) -> None:
        if not (symbols := gdb.current_progspace().filename):
            raise gdb.GdbError("kaslr: load the kernel's symbols first, by symbol-file")
        for _ in range(TRIES):
            offset = offset_of(handler(), self.applied)
            if offset is not None:
                break
            run_a_piece()
        else:
            raise gdb.GdbError("kaslr: vector 0 of the guest's IDT leads to none of "
                               f"{', '.join(HANDLERS)}; are these its symbols?")  # fmt: skip
        gdb.execute(f"symbol-file -o {offset:#x} {symbols}", to_string=True)
        self.applied = offset
        print(f"The kernel is {offset:#x} above the addresses of its symbols.")


Kaslr()
