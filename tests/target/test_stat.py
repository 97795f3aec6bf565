# SPDX-License-Identifier: MIT
"""Counters of VMs that run: the lines of `stat=` (vm/stat.h), and tools/stat.py, which shows their
rates."""

import importlib.util
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest
from conftest import LONG, ROOT, scenarios

from harness import events

TOOL = str(ROOT / "tools/stat.py")
# Python's own module of this name is another one.
spec = importlib.util.spec_from_file_location("stat_tool", TOOL)
assert spec and spec.loader
stat_tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stat_tool)

VMX = "/usr/include/x86_64-linux-gnu/asm/vmx.h"  # of linux-libc-dev, which the build needs

CONSOLE = """\
# stat one 1000/1 exit_10=100 exit_48=50
# stat one 1000/2 exits=150 pages_4k=10 .
    ok 1 a guest's own line
    # stat one 1499/1 exits=1 .
# stat two words 1100/1 exits=7 .
# stat one 1500/1 exit_10=150 exit_48=50 exits=200 pages_4k=4 mmio_exits=3 .
# stat one 2000/1 exit_10=151
# stat one 2200/2 exits=260 .
# stat one 2500/1 exit_10=250 exit_48=50 exits=300 pages_4k=4 mmio_exits=3 .
"""


def samples(text: str) -> list[dict]:
    command = [sys.executable, TOOL, "--json"]
    said = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def test_rates() -> None:
    found = samples(CONSOLE)
    assert [(sample["vm"], sample["ms"]) for sample in found] == [
        ("one", 1000), ("two words", 1100), ("one", 1500), ("one", 2500)]  # fmt: skip
    assert found[0]["rates"] == {}
    assert found[0]["totals"] == {
        "kvm_exit(CPUID)": 100, "kvm_exit(EPT_VIOLATION)": 50, "exits": 150, "pages_4k": 10,
    }  # fmt: skip
    assert found[2]["rates"] == {
        "kvm_exit(CPUID)": 100, "kvm_exit(EPT_VIOLATION)": 0, "exits": 100, "pages_4k": -12,
        "mmio_exits": 6,
    }  # fmt: skip
    # The samples at 2000 and 2200 ms are not complete, so the next rates are of a whole second.
    assert found[3]["rates"]["exits"] == 100 and found[3]["rates"]["kvm_exit(CPUID)"] == 100


def test_reasons_have_kvms_names() -> None:
    header = open(VMX).read()
    numbers = {name: int(n) for name, n in re.findall(r"#define EXIT_REASON_(\w+)\s+(\d+)", header)}
    named = re.findall(r'\{ EXIT_REASON_(\w+),\s*"(\w+)" \}', header)
    known = [(name, text) for name, text in named if numbers[name] < len(events.REASONS)]
    assert len(known) > 50
    assert [events.reason_name(numbers[name]) for name, _ in known] == [text for _, text in known]
    assert stat_tool.label("exit_200") == "kvm_exit(REASON_0xc8)"


def shown(master: int, *texts: bytes) -> None:
    """Waits until the terminal has shown these texts, in this order."""
    seen, deadline = b"", time.monotonic() + LONG
    for text in texts:
        while text not in seen:
            assert time.monotonic() < deadline, (text, seen)
            if select.select([master], [], [], 1)[0]:
                seen += os.read(master, 4096)
        seen = seen.partition(text)[2]


def test_screen(tmp_path) -> None:
    """The lines, as kvm_stat's columns, while they come; and the keys."""
    console = tmp_path / "console"
    console.write_text("")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    with subprocess.Popen([sys.executable, TOOL, console], stdin=slave, stdout=slave,
                          env=os.environ | {"TERM": "vt100"}) as tool:  # fmt: skip
        shown(master, b"waiting for lines; the command line needs stat=1000")
        with console.open("a") as file:
            file.write(CONSOLE)
        shown(master, b"one at 2.5 s", b"kvm_exit(CPUID)", b"250", b"83.3", b"100")
        os.write(master, b"v")
        shown(master, b"two words at 1.1 s")
        os.write(master, b"q")
        assert tool.wait(LONG) == 0
    os.close(master)
    os.close(slave)


def test_order() -> None:
    vm = stat_tool.Vm()
    vm.add(1000, 1, {"exits": 10, "a": 100}, True)
    vm.add(2000, 1, {"exits": 30, "a": 100}, True)
    by_rate = [line.split()[0] for line in stat_tool.table("x", vm, True)[3:]]
    by_total = [line.split()[0] for line in stat_tool.table("x", vm, False)[3:]]
    assert (by_rate, by_total) == (["exits", "a"], ["a", "exits"])


def test_a_machine_that_runs(boot) -> None:
    result = boot(cmdline="stat=100 counters=1", guests=(scenarios(),))
    assert result.status == 0, result
    found = samples("\n".join(result.lines))
    assert len(found) >= 2, result
    assert {sample["vm"] for sample in found} == {"scenarios"}
    times = [sample["ms"] for sample in found]
    assert all(after - before >= 100 for before, after in zip(times, times[1:], strict=False))
    totals = [sample["totals"].get("exits", 0) for sample in found]
    assert totals == sorted(totals) and totals[-1] <= result.counters("scenarios")["exits"]
    for sample in found:
        exits = [n for name, n in sample["totals"].items() if name.startswith("kvm_exit")]
        assert sum(exits) == sample["totals"].get("exits", 0)


@pytest.mark.parametrize("word", ["stat=99", "stat=3600001", "stat=all"])
def test_bad_periods(boot, word: str) -> None:
    result = boot(cmdline=word, guests=(scenarios(),))
    assert result.has(r"stat=100\.\.3600000"), result
