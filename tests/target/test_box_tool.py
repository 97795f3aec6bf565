# SPDX-License-Identifier: MIT
"""`make test` and `make bench` of a machine on a serial port, which is made up of texts."""

import importlib
import re

import pytest
from conftest import BUILD, ROOT
from test_box import BANNER, BOOT, PLAIN

from harness import box, serial, session
from harness.boot import Boot, parse_guests
from harness.errors import HarnessError, Status


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    """tool(WORD, [(status, text)...]) runs tools/box.py on a machine that says these texts, one in
    each boot. The boots are added to tool.boots."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    module = importlib.import_module("box")
    monkeypatch.setattr(module.sys, "argv", ["box.py"])
    boots: list[Boot] = []

    def run(word: str, said: list[tuple[int, str]], **words: str) -> int:
        left = list(said)

        def boot(boot: Boot, show=lambda line: None, ask: bool = True) -> session.Run:
            status, text = left.pop(0)
            boots.append(boot)
            run.asked.append(ask)
            boot.folder.mkdir(parents=True, exist_ok=True)
            (boot.folder / "serial.txt").write_text(text)
            return session.Run(boot, serial.parse(text), status, "", 1.0, [], 0)

        monkeypatch.setattr(module.box, "run", boot)
        options = [f"--{key}={value}" for key, value in words.items()]
        module.sys.argv[1:] = [word, "--machine=serial", "--port=x", "--name=box-tool", *options]
        return module.main()

    run.boots, run.asked, run.module = boots, [], module
    return run


def test_the_matrix_of_a_machine(tool, capsys) -> None:
    """Without POWER= it restarts by itself after each boot but the last."""
    count = len(tool.module.SWITCHES)
    assert tool("test", [(0, PLAIN)] * count) == 0
    assert [boot.entry for boot in tool.boots] == [box.TEST] * count
    assert tool.asked == [True] + [False] * (count - 1)
    words = [boot.cmdline for boot in tool.boots]
    assert words[0] == "on_exit=reboot" and words[-1] == "cpus=1"
    assert words[1:-1] == [f"{words} on_exit=reboot" for words in tool.module.SWITCHES[1:-1]]
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"1..{count}", "ok 1 no switches # 3 passed, 0 failed, 0 skipped, 1 s"]
    assert said[-1] == f"{count} passed, 0 failed, 0 skipped"


def test_the_matrix_ends_with_a_machine_that_hangs(tool, capsys) -> None:
    assert tool("test", [(0, PLAIN), (1, PLAIN), (Status.TIMED_OUT, BANNER)]) == 1
    said = capsys.readouterr()
    count = len(tool.module.SWITCHES)
    assert said.out.splitlines()[-1] == f"1 passed, 2 failed, {count - 3} skipped"
    assert f"so {count - 3} boots are left out; POWER= could start it again" in said.err


def test_power_goes_on_after_a_hang(tool) -> None:
    count = len(tool.module.SWITCHES)
    assert tool("test", [(Status.TIMED_OUT, BANNER)] * count, power="true") == 1
    assert [boot.cmdline for boot in tool.boots] == list(tool.module.SWITCHES)


BENCHED = f"""\
{BANNER}
{BOOT}
TSC: 3000000 kHz by the HPET
report: begin: 1
report: CPU: A CPU
report: end: 2 lines, sum 0
KTAP version 1
1..2
    BENCH cpuid 1200 ticks
ok 1 exits # ended=exit
    BENCH cpuid 1300 ticks
    BENCH other 7 faults
ok 2 exits_vcpus_2 # ended=exit
EXIT 0 ok
"""


def test_rows_in_ticks(tool, capsys) -> None:
    assert tool("bench", [(0, BENCHED)]) == 0
    assert tool.boots[0].entry == box.BENCH
    said = capsys.readouterr().out
    assert "# CPU: A CPU\n" in said and "# TSC: 3000000 kHz by the HPET\n" in said
    (instructions,) = re.findall(r"^exits +cpuid +(\d+) ", (ROOT / "tests/bench/budget.txt")
                                 .read_text(), re.M)  # fmt: skip
    assert re.search(rf"^exits +cpuid +{instructions} +1200 ticks$", said, re.M), said
    assert re.search(r"^exits,vcpus=2 +cpuid +\d+ +1300 ticks$", said, re.M), said
    assert re.search(r"^exits,vcpus=2 +other +\? +7 faults$", said, re.M), said
    assert (BUILD / "bench/box-tool.txt").read_text() in said


def test_another_entry_has_no_rows(tool) -> None:
    with pytest.raises(HarnessError, match="no guest has measured anything: the menu's entry b"):
        tool("bench", [(0, PLAIN)])
    assert tool("bench", [(10, "EXIT 10 no-vmx\n")], name="box-tool") == 10


def test_the_guests_of_bench_are_sets_of_the_budget(tool, capsys) -> None:
    assert tool("guests", []) == 0
    names = [guest.name for guest in parse_guests(capsys.readouterr().out)]
    assert names[:3] == ["exits", "exits_vcpus_2", "mmio"] and len(set(names)) == len(names)
    assert set(tool.module.SETS.values()) <= set(tool.module.bench.read_budget())
