"""The comparison with KVM: its table is that of the numbers in tests/bench/, and says so."""

import bench
import compare
import pytest
from harness import initramfs
from harness.errors import HarnessError

OURS = {row: 100 + i for i, (_, row, _) in enumerate(compare.ROWS)}
PEER = {name: {row: 10 * (k + 1) * OURS[row] for row in OURS}
        for k, name in enumerate(compare.CONFIGURATIONS)}  # fmt: skip


def test_the_document_and_the_chart_say_what_the_numbers_say() -> None:
    (ours, uncached), (kernel, peer) = compare.budget(), compare.read_peer()
    text = bench.DOCUMENT.read_text()
    section = compare.table(ours, uncached, kernel, peer)
    assert compare.document(text, section) == text, "run tools/compare.py --table"
    chart = compare.CHART.read_text()
    for numbers in (ours, peer["off"]):
        for row, value in numbers.items():
            assert f">{value}</text>" in chart, f"{row}: run tools/compare.py --table"


def test_what_was_written_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(compare, "PEER", tmp_path / "kvm.txt")
    compare.write_peer("6.1.0 #1 SMP", PEER)
    assert compare.read_peer() == ("6.1.0 #1 SMP", PEER)


def test_the_table_has_the_ratio_to_ours() -> None:
    uncached = {row: 2 * value for row, value in OURS.items()}
    lines = compare.table(OURS, uncached, "6.1.0", PEER).splitlines()
    assert lines[0] == "KVM is Linux 6.1.0."
    assert lines[4] == "| CPUID leaf 0 | 100 | 1000 | 10.0 | 2000 | 20.0 |"
    assert len(lines) == 4 + len(compare.ROWS) + 5 + len(compare.UNCACHED)
    doorbell = OURS["doorbell"]
    assert f"| a doorbell | {2 * doorbell} | {30 * doorbell} | 15.0 |" in lines


def test_only_the_part_between_the_marks_changes() -> None:
    begin, end = compare.MARKS
    text = f"before\n{begin}\nold\n{end}\nafter\n"
    assert compare.document(text, "new") == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"


def test_a_row_that_did_not_run_is_named() -> None:
    class Silent:
        class output:
            bench = {row: (1.0, "ticks") for row in list(OURS)[1:]}

        class boot:
            name = "x-kvm-off"

    with pytest.raises(HarnessError, match="x-kvm-off: no BENCH line for cpuid"):
        compare._numbers([Silent])


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
