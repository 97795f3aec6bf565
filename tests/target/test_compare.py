# SPDX-License-Identifier: MIT
"""The table of the comparison with KVM is made of the numbers in tests/bench/, and says so."""

import csv
import re

import bench
import compare
import pytest
from harness import initramfs
from harness.errors import HarnessError

KERNEL = compare.Kernel("6.1.0 #1 SMP", ("l1tf: flushed", "mds: nothing"), ("l1tf: not",))
OURS: compare.Ours = {}
for i, (of, row, _) in enumerate((*compare.ALL, *compare.OTHERS)):
    OURS.setdefault(of, {})[row] = 100 + i
OURS["start"] |= {"image_text": 500, "image_data": 60, "image_bss": 7}
PEER = {name: {row: 10 * (k + 1) * value for rows in OURS.values() for row, value in rows.items()}
        | {"cpuid": 1000 * (k + 1), "image_bytes": 9999}
        for k, name in enumerate(compare.CONFIGURATIONS)}  # fmt: skip


def test_the_document_and_the_chart_say_what_the_numbers_say() -> None:
    ours, (kernel, peer) = compare.budget(), compare.read_peer()
    text = bench.DOCUMENT.read_text()
    section = compare.table(ours, kernel, peer)
    assert bench.fill(text, "kvm", section) == text, "run tools/compare.py --table"
    front, readme = compare.front_table(ours, peer), compare.README.read_text()
    assert bench.fill(readme, "kvm", front) == readme, "run tools/compare.py --table"
    chart = compare.CHART.read_text()
    for of, row, _ in compare.ROWS:
        for value in (ours[of][row], peer["off"][row]):
            assert f">{value}</text>" in chart, f"{row}: run tools/compare.py --table"


def test_what_was_written_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(compare, "PEER", tmp_path / "kvm.txt")
    compare.write_peer(KERNEL, PEER)
    kernel, peer = compare.read_peer()
    assert kernel == KERNEL
    assert all(peer[name].items() <= PEER[name].items() for name in PEER)
    assert peer["off"].keys() >= {row for _, row, _ in (*compare.ROWS, *compare.OTHERS)}


def test_the_table_has_the_ratio_to_ours() -> None:
    lines = compare.table(OURS, KERNEL, PEER).splitlines()
    assert lines[0] == "KVM is Linux 6.1.0 #1 SMP, booted with"
    assert lines[2].startswith("    console=ttyS0,115200 ") and "tsc_early_khz=50000 " in lines[2]
    assert lines[6:8] == ["- l1tf: flushed", "- mds: nothing"]
    assert lines[14] == "| CPUID leaf 0 | 100 | 1000 | 10.0 | 2000 | 20.0 | 5000 |"
    for of, row, what in compare.PLAIN:
        mine, theirs = OURS[of][row], PEER["plain"][row]
        assert f"| {what} | {mine} | {theirs} | {theirs / mine:.1f} |" in lines
    for of, row, what in compare.TWO:
        mine, theirs = OURS[of][row], PEER["two"][row]
        assert f"| {what} | {mine} | {theirs} | {theirs / mine:.1f} |" in lines
    flawed = lines.index("- l1tf: not")
    for i, (of, row, what) in enumerate(compare.FLAWED):
        mine, theirs = OURS[of][row], PEER["flawed"][row]
        assert lines[flawed + 4 + i] == f"| {what} | {mine} | {theirs} | {theirs / mine:.1f} |"
    for of, row, what in compare.OTHERS:
        assert f"| {what} | {OURS[of][row]} | {PEER['off'][row]} |" in lines
    assert all(line in lines for line in compare.wrapped(compare.DIFFERENCES))
    assert lines[-1].endswith("| 567 | 9999 |")


def test_the_csv_has_each_row_once(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(compare, "CSV", tmp_path / "x/bench.csv")
    compare.write_csv(OURS, PEER)
    with compare.CSV.open() as file:
        head, *rows = list(csv.reader(file))
    assert head == ["set", "row", "eptvisor",
                    *(f"kvm_{name}" for name in compare.CONFIGURATIONS)]
    # fmt: skip
    assert rows[0] == ["exits", "cpuid", "100", "1000", "2000", "", "", "5000", ""]
    plain = [row for row in rows if row[0] == "mmu,ept_ad=0"]
    assert [row[1:2] + row[3:] for row in plain] == [
        ["write_after_harvest", "", "", str(PEER["plain"]["write_after_harvest"]), "", "", ""],
    ]
    two = [row for row in rows if row[0] == "cpu,vcpus=2"]
    assert two[0][3:] == ["", "", "", str(PEER["two"][two[0][1]]), "", ""]
    flawed = [row for row in rows if row[0] == compare.FLAWED_SET]
    assert flawed[0][3:] == ["", "", "", "", "", str(PEER["flawed"][flawed[0][1]])]
    assert len(rows) == len((*compare.ALL, *compare.OTHERS))


def test_the_front_table_says_what_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "FRONT", (("exits", "cpuid", "CPUID", "nothing"),
                                           ("exits,vcpus=2", "cpuid", "CPUID of two", "locks")))
    # fmt: skip
    mine, theirs = OURS["exits,vcpus=2"]["cpuid"], PEER["two"]["cpuid"]
    assert compare.front_table(OURS, PEER).splitlines()[2:] == [
        "| CPUID | 100 | 1000 | nothing |", f"| CPUID of two | {mine} | {theirs} | locks |",
    ]  # fmt: skip


def test_only_the_part_between_the_marks_changes() -> None:
    text = "before\n<!-- x: written by make bench -->\nold\n<!-- x: end -->\nafter\n"
    assert bench.fill(text, "x", "new") == text.replace("\nold\n", "\n\nnew\n\n")
    with pytest.raises(HarnessError, match="no line \"<!-- y: written by make bench -->\""):
        bench.fill(text, "y", "new")


def test_a_row_that_did_not_run_is_named() -> None:
    with pytest.raises(HarnessError, match="x-kvm-off: no BENCH line for cpuid"):
        compare._complete("x-kvm-off", ["cpuid", "rdmsr"], {"rdmsr": 1})


def test_an_initramfs_holds_files_and_the_folders_above(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    data = initramfs.make({"init": tmp_path / "a", "x/y/b": tmp_path / "a"})
    names, at = {}, 0
    while "TRAILER!!!" not in names:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name_at, size = at + 110, fields[6]
        name = data[name_at : name_at + fields[11] - 1].decode()
        body = -(-(name_at + fields[11]) // 4) * 4
        names[name] = (fields[1], data[body : body + size])
        at = -(-(body + size) // 4) * 4
    assert names["x/y/b"] == names["init"] == (0o100755, b"12345")
    assert names["x"] == names["x/y"] == (0o040755, b"")
    assert list(names).index("x") < list(names).index("x/y") < list(names).index("x/y/b")


def test_what_another_compiler_makes_is_shown_not_written(monkeypatch, capsys, tmp_path) -> None:
    written = []
    monkeypatch.setattr("sys.argv", ["compare.py"])
    monkeypatch.setattr(compare, "run_ours", lambda name: compare.budget())
    monkeypatch.setattr(compare, "run_peers", lambda name: compare.read_peer())
    monkeypatch.setattr(compare, "CSV", tmp_path / "bench.csv")
    monkeypatch.setattr(compare, "write_peer", lambda *_: written.append("peer"))
    monkeypatch.setattr(compare, "write_documents", lambda: written.append("documents"))
    monkeypatch.setattr(compare.bench, "compiler", lambda: "gcc 99")
    assert compare.main() == 0
    text = capsys.readouterr().out
    assert re.search(r"^cpuid +\d+ +\d+ +[\d.]+$", text, re.M)
    assert "This image was compiled by gcc 99" in text
    assert (tmp_path / "bench.csv").is_file() and not written
    monkeypatch.setattr(compare.bench, "compiler", compare.bench.budget_compiler)
    assert compare.main() == 0
    assert written == ["peer", "documents"]
