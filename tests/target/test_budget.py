"""What paths cost stays within tests/bench/budget.txt, and docs/PERFORMANCE.md says the same."""

import bench
import pytest

ADVICE = "tools/bench.py"


@pytest.fixture(scope="module")
def measured() -> dict[str, list[bench.Row]]:
    return {name: bench.measure(name, folder="budget") for name in bench.SETS}


@pytest.mark.parametrize("name", bench.SETS)
def test_no_row_exceeds_its_budget(name: str, measured: dict[str, list[bench.Row]]) -> None:
    budget = bench.read_budget()[name]
    rows = measured[name]
    found = [text for row in rows for text in bench.over_budget(row, budget.get(row.name))]
    assert not found, "\n".join(found)
    assert [row.name for row in rows] == list(budget), "a row is gone; update the budget"


@pytest.mark.parametrize("name", ["exits", "smp,cpus=4"])
def test_two_runs_count_the_same(name: str, measured: dict[str, list[bench.Row]]) -> None:
    assert bench.measure(name, folder="budget-again") == measured[name]


def test_faults_of_several_cpus_scale(measured: dict[str, list[bench.Row]]) -> None:
    """Each CPU in its own memory: nobody waits for the other."""
    rows = {row.name: row.value for row in measured["smp,cpus=4"]}
    for cpus in range(2, 5):
        assert rows[f"faults_{cpus}"] >= 0.99 * cpus * rows["faults_1"]
        assert rows[f"fault_4k_{cpus}"] <= 1.01 * rows["fault_4k_1"]


def test_who_is_not_in_the_guest_is_not_waited_for(measured: dict[str, list[bench.Row]]) -> None:
    rows = {row.name: row for row in measured["smp,cpus=4"]}
    idle, halted = rows["zap_idle"], rows["zap_halted"]
    assert abs(idle.value - halted.value) <= 5
    assert idle.cells[1:] == halted.cells[1:]


def test_every_path_was_traced(measured: dict[str, list[bench.Row]]) -> None:
    """An exit reads its reason and orders its entry; a count of nothing is a broken count."""
    rows = [*measured["exits"], *(r for r in measured["mmu"] if r.name.startswith("fault"))]
    assert len(rows) >= 8
    for row in rows:
        assert min(row.vmreads, row.locked_ops) >= 1, row


def test_the_document_says_what_the_budget_says() -> None:
    text = bench.DOCUMENT.read_text()
    assert bench.document(text, bench.read_budget()) == text, "run tools/bench.py --update"


BUDGET = ["100", "5", "1", "2.12"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (bench.Row("a", 103, "ticks", 5, 1, 2.12), []),
        (bench.Row("a", 90, "ticks", 5, 1, 2.12), []),
        (bench.Row("a", 104, "ticks", 5, 1, 2.12), ["a: 104 ticks, its budget is 100"]),
        (bench.Row("a", 100, "ticks", 6, 1, 2.12), ["a: 6 vmreads, its budget is 5"]),
        (bench.Row("a", 100, "ticks", 5, 2, 3), ["a: 2 vmwrites", "a: 3 locked_ops"]),
    ],
)
def test_what_is_over_the_budget_is_named(row: bench.Row, words: list[str]) -> None:
    found = bench.over_budget(row, BUDGET)
    assert len(found) == len(words)
    for sentence, start in zip(found, words, strict=True):
        assert sentence.startswith(start)
        assert ADVICE in sentence


def test_more_faults_are_no_failure() -> None:
    assert not bench.over_budget(bench.Row("a", 110, "faults"), ["100"])
    (sentence,) = bench.over_budget(bench.Row("a", 90, "faults"), ["100"])
    assert sentence.startswith("a: 90 faults, its budget is 100")


def test_a_row_without_budget_is_named() -> None:
    (sentence,) = bench.over_budget(bench.Row("new", 1), None)
    assert sentence.startswith("new has no budget. ")


def test_tables_get_the_numbers_of_their_set() -> None:
    sets = {"x": {"a": ["7", "1", "2", "3"], "b": ["9"]}, "x,w=0": {"a": ["8", "4", "5", "6"]}}
    text = "| `a` | what | 0 | 0 | 0 | 0 | KVM |\n| `a` (`w=0`) | z | 0 | 0 | 0 | 0 | |\n"
    text += "| `b` | what | 0 |\n| `c` | other | 0 |\n"
    assert bench.document(text, sets) == (
        "| `a` | what | 7 | 1 | 2 | 3 | KVM |\n| `a` (`w=0`) | z | 8 | 4 | 5 | 6 | |\n"
        "| `b` | what | 9 |\n| `c` | other | 0 |\n"
    )
