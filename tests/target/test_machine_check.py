# SPDX-License-Identifier: MIT
"""Machine checks on a machine that has banks (rules N125 and N127): QEMU puts an error into them as
its monitor is told, and raises #MC on each CPU, but only if the banks have the error signalled. A
CPU whose CR4.MCE is 0 shuts down instead."""

import pathlib
import subprocess
import time

from harness import session
from harness.boot import Boot

TIMEOUT = 60.0
OLD = "mce 0 2 0x9000000000000091 0 0 0\n"  # a corrected one, which raises no exception
NEW = "mce -b 1 3 0xbe00000000800400 0x5 0x1234 0x86\n"


def wait_for(file: pathlib.Path, text: str) -> str:
    deadline = time.monotonic() + TIMEOUT
    while not file.exists() or text not in file.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"{text} is not in {file}"
        time.sleep(0.02)
    return file.read_text(errors="replace")


def test_an_old_error_is_named_and_a_new_one_ends_the_machine() -> None:
    boot = Boot(name="machine-check", machine="qemu-tcg", method="kernel", cpu="Nehalem", smp=2,
                cmdline="on_exit=halt", qemu_words=("-monitor", "stdio", "-S"))  # fmt: skip
    command = session.prepare(boot)
    serial = boot.folder / "serial.txt"
    with subprocess.Popen(command, cwd=boot.folder, stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.DEVNULL) as qemu:  # fmt: skip
        try:
            assert qemu.stdin
            qemu.stdin.write(OLD + "cont\n")
            qemu.stdin.flush()
            log = wait_for(serial, "EXIT 10 no-vmx")
            assert log.count("machine checks: ") == 1
            assert ("machine checks: CPU 0 has 1 from before this boot: IA32_MC2_STATUS "
                    "0x9000000000000091: EN, VAL; code 0x91, 0: memory controller, read, channel 1"
                    ) in log  # fmt: skip
            assert "#MC" not in log
            qemu.stdin.write(NEW)
            qemu.stdin.flush()
            log = wait_for(serial, "backtrace:")
        finally:
            qemu.kill()
    assert log.count("error: #MC machine check on CPU ") == 1
    assert "CPU 1: IA32_MC3_STATUS 0xbe00000000800400: PCC, ADDRV, MISCV, EN, UC, VAL" in log
    assert "what to do: an instruction got no answer for a long time" in log
    assert "MC2_STATUS" not in log[log.index("#MC") :]  # it has been cleared
