# SPDX-License-Identifier: MIT
"""Each checker of `make lint` finds the errors that it is for."""

import pathlib
import re
import subprocess

import check
import circles
import functions
import layers
import pytest
import rules
import stores
import targets
import textcheck
from conftest import ROOT


@pytest.mark.parametrize(
    ("path", "line", "why"),
    [
        ("mmu/a.c", '#include "vm/vm.h"', "points up, from mmu/ to vm/"),
        ("lib/a.h", '#include "arch/x86/cpu.h"', "points up"),
        ("ept/a.c", "#include <stdio.h>", "not a freestanding header"),
        ("ept/a.c", '#include "entry.h"', "in no layer"),
        ("guest/programs/a.c", '#include "arch/x86/regs.h"', "not for guest programs"),
        ("vm/a.c", '#include "guest/programs/rt/rt.h"', "belongs to the guests"),
    ],
)
def test_layers_refuses(tmp_path: pathlib.Path, path: str, line: str, why: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(f"\n{line}\n")
    (found,) = layers.check(tmp_path)
    assert found.startswith(f"{path}:2: ")
    assert why in found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("vm/a.c", '#include "mmio/bus.h"'),
        ("mmu/a.c", '#include "mmu/spte.h"'),
        ("dev/a.c", '#include "guest/abi.h"'),
        ("lib/a.c", "#include <stdint.h>"),
        ("guest/programs/a.c", '#include "guest/abi.h"'),
    ],
)
def test_layers_allows(tmp_path: pathlib.Path, path: str, line: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(f"{line}\n")
    assert layers.check(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "line", "why"),
    [
        ("mmu/a.c", "    uint64_t *sptep = iter->sptep;", "pointer to const"),
        ("mmu/a.h", "    uint64_t *tables[EPT_LEVELS + 1];", "pointer to const"),
        ("mmu/a.c", "    *(uint64_t *)(uintptr_t)sptep = 0;", "takes const away"),
        ("mmu/a.c", "    uint64_t *p = phys_to_virt(spte_page(spte));", "pointer to const"),
        ("mmu/a.c", "    const uint64_t *sptep = iter->sptep;", None),
        ("mmu/a.c", "    uint64_t *bitmap = slot->dirty;", None),
        ("mmu/store.h", "    *(uint64_t *)(uintptr_t)sptep = 0;", None),
    ],
)
def test_stores_of_sptes(tmp_path: pathlib.Path, path: str, line: str, why: str | None) -> None:
    (tmp_path / "mmu").mkdir()
    (tmp_path / path).write_text(f"\n{line}\n")
    found = stores.check(tmp_path)
    assert len(found) == bool(why)
    assert not why or (found[0].startswith(f"{path}:2: ") and why in found[0])


def test_each_header_is_compiled_with_nothing_before_it(tmp_path: pathlib.Path) -> None:
    """Either with a source that begins with it, or by the linter."""
    for name in ("Makefile", "tools", "guest", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    sources = {
        "lib": ('#include "lib/first.h"', '#include "lib/second.h"'),
        "vm": ("#define ODD 1", '#include "vm/changed.h"'),
        "ept": ("#include <stdint.h>", '#include "ept/helped.h"'),
    }
    for layer, lines in sources.items():
        (tmp_path / layer).mkdir()
        (tmp_path / layer / "a.c").write_text("\n".join(("/* It is", " */", *lines, "")))
        for header in re.findall(r'"(.*)"', "\n".join(lines)):
            (tmp_path / header).touch()
    done = subprocess.run(["make", "-s", "--eval=show: ; @echo $(HEADERS_ALONE)", "show"],
                          cwd=tmp_path, capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split() == ["lib/second.h", "ept/helped.h", "vm/changed.h"]


@pytest.mark.parametrize(
    ("comment", "complaints"),
    [
        ("Supplied by vm/b.c.", 0),
        ("Long comments are\n * wrapped anywhere. Supplied by\n * vm/b.c.", 0),
        ("Supplied by vm/c.c.", 1),
        ("Its supplier is not named.", 1),
    ],
)
def test_calls_up_are_declared(tmp_path: pathlib.Path, comment: str, complaints: int) -> None:
    files = {
        "lib/a.h": f"#pragma once\n\n/* {comment} */\nvoid f(void);\n\nvoid g(void);\n",
        "lib/a.c": '#include "lib/a.h"\nvoid h(void);\nvoid h(void) { f(); }\n',
        "vm/b.c": '#include "lib/a.h"\nvoid f(void) {}\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("lib/a", "vm/b"):
        target = tmp_path / f"build/obj/{name}.o"
        target.parent.mkdir(parents=True)
        subprocess.run(["gcc", "-c", f"{name}.c", "-I.", "-o", target], cwd=tmp_path, check=True)
    found = layers.check_calls(tmp_path, tmp_path / "build/obj")
    assert len(found) == complaints
    assert all(f.startswith("lib/a: f points up, to vm/b; ") for f in found)


def test_circles_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    graph: circles.Needs = {
        "vm/a": {"vm/b": "b_first"},
        "vm/b": {"vm/c": "c_first", "lib/d": "d_first"},
        "vm/c": {"vm/a": "a_first"},
        "vm/e": {"vm/f": "f_first"},
        "vm/f": {"vm/e": "e_first"},
        "lib/d": {},
    }
    monkeypatch.setattr(circles, "ALLOWED", {"vm/e": "one idea", "lib/d": "was one"})
    assert circles.check(graph) == [
        "these 3 files need each other in a circle:",
        "    vm/a needs b_first() of vm/b",
        "    vm/b needs c_first() of vm/c",
        "    vm/c needs a_first() of vm/a",
        "lib/d is in no circle any more; take it out of ALLOWED",
    ]


@pytest.mark.parametrize(
    ("span", "complaint"),
    [
        ("`vm/a.c: one()`", None),
        ("`vm/a.c: two()`, `vm/a.S: label()`", None),
        ("`vm/a.c`: what it is", None),
        ("`vm/a.c:\n   gone()`", "vm/a.c does not define gone()"),
        ("`vm/a.c: called()`", "vm/a.c does not define called()"),
        ("`vm/a.c: declared()`", "vm/a.c does not define declared()"),
        ("`vm/a.S: elsewhere()`", "vm/a.S does not define elsewhere()"),
        ("`vm/gone.c: one()`", "there is no vm/gone.c"),
    ],
)
def test_functions_are_found(tmp_path: pathlib.Path, span: str, complaint: str | None) -> None:
    files = {
        "vm/a.c": "void declared(void);\n\nstatic int one(int a,\n               int b)\n{\n"
                  "    called();\n}\n\nstruct s *two(void)\n{\n}\n",
        "vm/a.S": "label:\n    call elsewhere\n",
        "docs/A.md": f"1. The way begins.\n2. {span} goes on.\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    expected = [f"docs/A.md:2: {complaint}"] if complaint else []
    assert functions.check(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x\n" * 501, "501 lines"),
        ("int f(void)\n{\n" + "    x;\n" * 61 + "}\n", "a function of 61 lines"),
        ("x" * 101 + "\n", "101 columns"),
        ("/* TO" "DO: more */\n", "finish it"),
        ("#if 0\n", "finish it"),
        ("x \n", "space at the end"),
    ],
)
def test_text_is_checked(tmp_path: pathlib.Path, text: str, why: str) -> None:
    (tmp_path / "a.c").write_text(text)
    (found,) = textcheck.check(tmp_path)
    assert why in found


@pytest.mark.parametrize(
    ("text", "passed", "failed", "skipped"),
    [
        ("[==========] Running 5 test(s).\n[  PASSED  ] 5 test(s).\n", 5, 0, 0),
        ("[==========] g: Running 3 test(s).\n[  PASSED  ] 2 test(s).\n"
         "[  FAILED  ] g: 1 test(s), listed below:\n", 2, 1, 0),
        ("[==========] Running 4 test(s).\n==1==ERROR: AddressSanitizer\n", 0, 4, 0),
        ("7 passed, 1 skipped in 3.10s\n", 7, 0, 1),
        ("1 failed, 7 passed, 2 errors in 61.10s (0:01:01)\n", 7, 3, 0),
        ("9 passed, 0 failed, 2 skipped\nEXIT 0 ok\n", 9, 0, 2),
        ("the guest passed 3 passed things\n", 0, 0, 0),
    ],
)  # fmt: skip
def test_counts_are_added_up(text: str, passed: int, failed: int, skipped: int) -> None:
    assert check.count(text) == {"passed": passed, "failed": failed, "skipped": skipped}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("    make run GUESTS=\"a.elf b\" MEM=64   # make tea", ["run"]),
        ("make -j2 unit lint", ["unit", "lint"]),
        ("    $ make test", ["test"]),
        ("as `make all` and `make run MACHINE=qemu-kvm` do", ["all", "run"]),
        ("type `make`", []),
        ("    make", []),
        ("    make sure of it", ["sure", "of", "it"]),
        ("these make it work", []),
        ("a `makefile` of `cmake x`", []),
    ],
)
def test_commands_in_documents_are_found(line: str, words: list[str]) -> None:
    assert targets.asked_for(line) == words


def test_absent_targets_are_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# x\n\n    make run CPU=a\n")
    (tmp_path / "docs/A.md").write_text("`make rum`\n")
    assert targets.check(tmp_path, {"run": ""}) == [
        "docs/A.md:1: `make rum`: there is no such target in `make help`"
    ]


def test_help_lists_what_can_be_made() -> None:
    """Each target that `make help` lists exists."""
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert {"all", "help", "run", "test", "lint", "run-guest"} <= set(names)
    for name in names:
        made = subprocess.run(["make", "-n", name, "GUEST=hello"], cwd=ROOT, capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert made.returncode == 0, made.stderr


RULES = """
| S1 | what | source | `lib/a.c` | `test_a` |
| S2 | what | source | `lib/b.c` | `prove_b` |
| X2 | what. There are none. | source | | |
| S1 | again | source | `lib/a.c` | `a.pml` |
| S3 | what | source | | `a` |
"""


def test_references_to_rules_must_resolve(tmp_path: pathlib.Path) -> None:
    files = {
        "docs/RULES.md": RULES,
        "docs/DESIGN.md": "**D1. A decision.** Why.\n",
        "lib/a.c": "/* Rule S1, decision D1. */\nint S9; /* S8, F3 */\n",
        "docs/A.md": "By S2 and D2, not A4 or 0xS7.\n",
        "tests/unit/test_a.c": "",
        "tests/models/a.pml": "",
        "guest/programs/a.c": "",
        "tests/proofs/a.c": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert rules.check(tmp_path, list(files)) == [
        "docs/RULES.md: S1 has two rows",
        "docs/RULES.md: S2: there is no `lib/b.c`",
        "docs/RULES.md: S2: there is no `prove_b`",
        "docs/RULES.md: S3 names no file that keeps it or no test",
        *(
            f"{where}: {number} is neither in docs/RULES.md nor in docs/DESIGN.md"
            for where, number in (("lib/a.c:2", "S8"), ("lib/a.c:2", "F3"), ("docs/A.md:1", "D2"))
        ),
    ]
