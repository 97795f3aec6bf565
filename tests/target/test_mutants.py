# SPDX-License-Identifier: MIT
"""The entries of mutants: how they are read, what they change, and the messages about bad ones."""

import pathlib

import mutation
import pytest
from mutation import Mutant, MutantError

SOURCE = """\
/* first() is here: int second(void) { is no definition in a comment */
#define LIMIT(x) \\
    ((x) + 1)
#define OTHER 1

struct first_type {
    int step;
};

enum mode { OFF, ON };

static const struct {
    int value;
} rows[] = {
    {1},
    {2},
};
const struct ops short_ops = {
    .name = "short", .read = first};
static const int one = 1; /* a comment */

static int declared(int x);
INVOKED(first)

static __attribute__((noinline)) int first(int x,
                                           int y)
{
    x += y;

    x += y;
    return x;
}

int second(struct first_type *first)
{
    struct first_type copy = {
        1,
    };
    if (copy.step)
        return 1;
    return 0;
}
"""
HEAD = "== name\nBreaks S1, W2: it is wrong.\n"


def entries(tmp_path: pathlib.Path, text: str) -> list[Mutant]:
    path = tmp_path / "all.mutants"
    path.write_text(text)
    return mutation.parse(path)


def changed(tmp_path: pathlib.Path, edits: str) -> str:
    """Returns SOURCE after the edits of an entry."""
    (mutant,) = entries(tmp_path, f"{HEAD}{edits}")
    (tmp_path / "a.c").write_text(SOURCE)
    mutant.apply(tmp_path)
    return (tmp_path / "a.c").read_text()


def test_fields_are_read(tmp_path: pathlib.Path) -> None:
    one, two = entries(tmp_path, "# Mutants of a subsystem.\n\n== one\nBreaks S1, W2: a.\n"
                       "Test: spte\nProof: prove_a prove_b\nTarget: test_a.py::b[1] test_a.py::c\n"
                       "@ a.c f\n-x\n@ b.h\n+y\n z\n\n"
                       "== two\nBreaks S3: b.\nTarget: test_a.py::b\n@ a.c f\n-x\n")  # fmt: skip
    assert (one.name, one.line, one.rules, one.test) == ("one", 3, ["S1", "W2"], "spte")
    assert one.proofs == ["prove_a", "prove_b"]
    assert one.targets == ["test_a.py::b[1]", "test_a.py::c"]
    assert one.files == {"a.c", "b.h"}
    assert one.edits[1] == mutation.Edit("b.h", "", ["z"], ["y", "z"])
    assert (two.name, two.line, two.test, two.proofs) == ("two", 14, "", [])


def test_definitions_are_found() -> None:
    lines = SOURCE.split("\n")
    found = {name: (lines[start], lines[end - 1])
             for name, start, end in mutation.definitions(lines)}  # fmt: skip
    assert found == {
        "LIMIT": ("#define LIMIT(x) \\", "    ((x) + 1)"),
        "OTHER": ("#define OTHER 1", "#define OTHER 1"),
        "first_type": ("struct first_type {", "};"),
        "mode": ("enum mode { OFF, ON };", "enum mode { OFF, ON };"),
        "rows": ("static const struct {", "};"),
        "short_ops": ("const struct ops short_ops = {", '    .name = "short", .read = first};'),
        "one": ("static const int one = 1; /* a comment */",) * 2,
        "first": ("static __attribute__((noinline)) int first(int x,", "}"),
        "second": ("int second(struct first_type *first)", "}"),
    }


@pytest.mark.parametrize(
    ("edits", "old", "new"),
    [
        ("@ a.c second\n-    return 0;\n+    return 2;\n", "return 0;", "return 2;"),
        ("@ a.c\n-    return 0;\n", "    return 0;\n", ""),
        ("@ a.c first\n {\n-    x += y;\n\n", "{\n    x += y;\n", "{\n"),
        ("@ a.c first\n     x += y;\n\n     x += y;\n+    y++;\n", "return x",
         "y++;\n    return x"),
        ("@ a.c rows\n-    {2},\n+    {3},\n", "{2}", "{3}"),
        ("@ a.c LIMIT\n-    ((x) + 1)\n+    ((x) + 2)\n", "+ 1", "+ 2"),
        ("@ a.c one\n-static const int one = 1; /* a comment */\n+\n",
         "static const int one = 1; /* a comment */", ""),
        ("@ a.c rows\n-    {1},\n@ a.c rows\n-    {2},\n", "    {1},\n    {2},\n", ""),
    ],
)  # fmt: skip
def test_edits_are_made(tmp_path: pathlib.Path, edits: str, old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert changed(tmp_path, edits) == SOURCE.replace(old, new)


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ("@ a.c first\n-    x += y;\n",
         "a.c: the old text `    x += y;` occurs 2 times in first, not once: lines 28, 30"),
        ("@ a.c first\n-    return 0;\n",
         "a.c: the old text `    return 0;` does not occur in first; "
         "the nearest text has in line 31 `    return x;` instead of `    return 0;`"),
        ("@ a.c first\n     x += y;\n-    return y;\n",
         "a.c: the old text `    x += y;` … does not occur in first; "
         "the nearest text has in line 31 `    return x;` instead of `    return y;`"),
        ("@ a.c\n-  return 0;\n",
         "the old text `  return 0;` does not occur in the file; "
         "the nearest text has in line 41 `    return 0;` instead of `  return 0;`"),
        ("@ a.c OTHER\n-a\n-b\n", "the old text `a` … is longer than OTHER"),
        ("@ a.c thrid\n-    return 0;\n", "a.c: thrid is not defined there; the nearest name is "),
        ("@ a.c declared\n-    return 0;\n", "a.c: declared is not defined there"),
        ("@ b.c first\n-    return 0;\n", "b.c: No such file or directory"),
    ],
)  # fmt: skip
def test_a_text_that_is_not_there_once(tmp_path: pathlib.Path, edits: str, why: str) -> None:
    with pytest.raises(MutantError) as error:
        changed(tmp_path, edits)
    assert "all.mutants:1: name: " in str(error.value)
    assert why in str(error.value)
    assert (tmp_path / "a.c").read_text() == SOURCE


def test_a_name_that_is_defined_twice() -> None:
    with pytest.raises(MutantError, match="first is defined 2 times, in lines 1, 4"):
        mutation.find_definition("void first(void)\n{\n}\nstruct first {\n};".split("\n"), "first")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (f"{HEAD}Tests: spte\n@ a.c f\n-x\n", 3, "not understood: Tests: spte"),
        (f"{HEAD}@ a.c f\n-x\nTest: spte\n", 5, "not understood: Test: spte"),
        (f"{HEAD}Breaks S1: twice.\n@ a.c f\n-x\n", 3, "not understood: Breaks S1: twice."),
        (f"{HEAD}-x\n", 3, "not understood: -x"),
        (f"{HEAD}@ a.c f(void)\n-x\n", 3, "not understood: @ a.c f(void)"),
        ("Breaks S1: before an entry.\n", 1, "not understood: Breaks S1"),
        ("== name\n@ a.c f\n-x\n", 1, "name: has no line `Breaks RULE, RULE: what it does wrong.`"),
        ("\n== name\nBreaks it.\n@ a.c f\n-x\n", 2, "name: has no line `Breaks RULE, RULE: what"),
        (HEAD, 1, "name: has no edit"),
        (f"{HEAD}@ a.c f\n@ b.c\n-x\n", 1, "name: the edit of a.c has no old text"),
        (f"{HEAD}@ a.c f\n+x\n", 1, "name: the edit of a.c has no old text"),
        (f"{HEAD}@ a.c f\n x\n", 1, "name: the edit of a.c changes nothing"),
    ],
)
def test_a_bad_entry(tmp_path: pathlib.Path, text: str, line: int, why: str) -> None:
    with pytest.raises(MutantError) as error:
        entries(tmp_path, text)
    assert f"all.mutants:{line}: {why}" in str(error.value)


def test_names_are_unique_in_all_files(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mutants").write_text(f"{HEAD}@ a.c f\n-x\n")
    with pytest.raises(MutantError, match=r"b\.mutants:1: name: the name is taken by .*a\.mutants"):
        mutation.load(tmp_path)


def test_what_killed_it_is_recorded(tmp_path: pathlib.Path) -> None:
    text = f"{HEAD}@ a.c f\n-x\n\n{HEAD.replace('name', 'other')}Test: spte\n@ a.c f\n-x\n"
    for mutant in entries(tmp_path, text):
        mutant.record("mmu_fault")
    assert [m.test for m in mutation.parse(tmp_path / "all.mutants")] == ["mmu_fault"] * 2
    assert (tmp_path / "all.mutants").read_text().count("\n") == text.count("\n") + 1


def test_an_edit_that_fails_leaves_all_files(tmp_path: pathlib.Path) -> None:
    with pytest.raises(MutantError):
        changed(tmp_path, "@ a.c second\n-    return 0;\n@ a.c second\n-    return 0;\n")
    assert (tmp_path / "a.c").read_text() == SOURCE
