# SPDX-License-Identifier: MIT
"""The mutants of tests/mutants/: reads the entries, and applies one of them to the sources.

A file NAME.mutants holds the mutants of one subject, one entry each:

    == w5-filled-after-linking
    Breaks W5, T6: a split links its table before it is filled.
    Test: mmu_stores
    Proof: prove_one prove_another
    Target: test_file.py::test_name
    @ mmu/map.c split
         struct table *table = allocate();
    -    fill(table);
    +    link(table);

`@ FILE DEFINITION` begins an edit. Lines that begin with `-` or a space are the old text, those
with `+` or a space are the new text; an empty line stands for an empty line in both. The old text
must occur exactly once in that definition of a function, table, type or macro, or in the whole file
if none is named. An edit therefore does not depend on anything outside of its definition.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

FIELD = re.compile(r"(Breaks|Test:|Proof:|Target:) (.+)")
EDIT = re.compile(r"@ (\S+)(?: (\w+))?")
BREAKS = re.compile(r"([A-Z][0-9]+(?:, [A-Z][0-9]+)*): .*\.")
ATTRIBUTE = re.compile(r"__attribute__\(\((?:[^()]|\([^()]*\))*\)\)")
# Where the name is in the text up to the first `{`, `=` or `;`: of a type, function, variable.
NAMES = [re.compile(r"^(?:struct|union|enum) (\w+)\s*$"), re.compile(r"\b([a-z]\w*)\("),
         re.compile(r"(\w+)(?:\[[^]]*\])*\s*$")]  # fmt: skip
# The name that follows a type without a name.
BEHIND = re.compile(r"^\} (\w+)", re.M)


class MutantError(Exception):
    """An entry that cannot be read, or an edit that does not match the sources."""


# ---- C sources ----------------------------------------------------------------------------------


def definitions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yields the name, the first line and the line after the last one of each definition that
    begins in column 0."""
    at = 0
    while at < len(lines):
        start, at = at, at + 1
        if macro := re.match(r"#define (\w+)", lines[start]):
            while lines[at - 1].endswith("\\"):
                at += 1
            yield macro[1], start, at
        elif re.match(r"[A-Za-z]", lines[start]):
            at = end_of_definition(lines, start)
            text = ATTRIBUTE.sub("", "\n".join(lines[start:at]))
            head = re.split(r"[{=;]", text)[0]
            unnamed = re.search(r"\b(struct|union|enum)\s*$", head)
            names = [BEHIND.search(text)] if unnamed else [name.search(head) for name in NAMES]
            found = next(filter(None, names), None)
            if found and re.search(r"[{=]", text):
                yield found[1], start, at


def end_of_definition(lines: list[str], start: int) -> int:
    """Returns the line after the last one of a definition. The last one begins with `}`, or is an
    earlier one that ends a statement outside of braces."""
    depth = 0
    for at in range(start, len(lines)):
        line = lines[at]
        depth += line.count("{") - line.count("}")
        closed = re.match(r"\}.*[^{]$|\}$", line)
        if closed or depth == 0 and re.search(r"^$|[;}](\s*/\*.*)?$", line):
            return at + 1
    return len(lines)


def find_definition(lines: list[str], name: str) -> tuple[int, int]:
    """Returns the first line of a definition, and the line after its last one."""
    known = list(definitions(lines))
    found = [(start, end) for other, start, end in known if other == name]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(str(start + 1) for start, _ in found)
        raise MutantError(f"{name} is defined {len(found)} times, in lines {places}")
    close = difflib.get_close_matches(name, [other for other, _, _ in known], 1, 0)
    nearest = f"; the nearest name is {close[0]}" if close else ""
    raise MutantError(f"{name} is not defined there{nearest}")


# ---- Entries ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Edit:
    file: str
    definition: str  # empty: the whole file
    old: list[str] = dataclasses.field(default_factory=list)
    new: list[str] = dataclasses.field(default_factory=list)

    def add(self, line: str) -> None:
        if line[0] != "+":
            self.old.append(line[1:])
        if line[0] != "-":
            self.new.append(line[1:])

    def apply(self, text: str) -> str:
        """Returns the file's text with the edit made, or raises MutantError with the reason."""
        lines = text.split("\n")
        start, end = 0, len(lines)
        if self.definition:
            start, end = find_definition(lines, self.definition)
        size = len(self.old)
        places = range(start, end - size + 1)
        found = [at for at in places if lines[at : at + size] == self.old]
        if len(found) != 1:
            raise MutantError(f"the old text `{self.old[0]}`{' …' if size > 1 else ''} "
                              + self._why(lines, places, found))  # fmt: skip
        lines[found[0] : found[0] + size] = self.new
        return "\n".join(lines)

    def _why(self, lines: list[str], places: range, found: list[int]) -> str:
        where, size = self.definition or "the file", len(self.old)
        if found:
            numbers = ", ".join(str(at + 1) for at in found)
            return f"occurs {len(found)} times in {where}, not once: lines {numbers}"
        if not places:
            return f"is longer than {where}"

        def likeness(at: int) -> float:
            text, old = "\n".join(lines[at : at + size]), "\n".join(self.old)
            return difflib.SequenceMatcher(None, text, old, autojunk=False).ratio()

        nearest = max(places, key=likeness)
        other = next(i for i in range(size) if lines[nearest + i] != self.old[i])
        return (f"does not occur in {where}; the nearest text has in line {nearest + other + 1} "
                f"`{lines[nearest + other]}` instead of `{self.old[other]}`")  # fmt: skip


@dataclasses.dataclass
class Mutant:
    path: Path  # the file of the entry
    line: int  # the first line of the entry
    name: str
    fields: dict[str, str]
    edits: list[Edit]

    @property
    def where(self) -> str:
        return f"{os.path.relpath(self.path)}:{self.line}: {self.name}"

    @property
    def rules(self) -> list[str]:
        breaks = BREAKS.fullmatch(self.fields.get("Breaks", ""))
        return breaks[1].split(", ") if breaks else []

    @property
    def test(self) -> str:
        """A test of tests/unit/, without `test_`; empty if only target tests show the mutant."""
        return self.fields.get("Test:", "")

    @property
    def proofs(self) -> list[str]:
        return self.fields.get("Proof:", "").split()

    @property
    def targets(self) -> list[str]:
        return self.fields.get("Target:", "").split()

    @property
    def files(self) -> set[str]:
        return {edit.file for edit in self.edits}

    def changed(self, root: Path) -> dict[str, str]:
        """Returns the text of each changed file. Raises MutantError if an edit fails."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            try:
                text = texts.get(edit.file) or (root / edit.file).read_text()
                texts[edit.file] = edit.apply(text)
            except OSError as error:
                raise MutantError(f"{self.where}: {edit.file}: {error.strerror}") from error
            except MutantError as error:
                raise MutantError(f"{self.where}: {edit.file}: {error}") from error
        return texts

    def apply(self, root: Path) -> None:
        """Puts the mutant into the tree, or raises MutantError and leaves the tree as it is."""
        for file, text in self.changed(root).items():
            (root / file).write_text(text)

    def record(self, test: str) -> None:
        """Writes into the entry which test kills the mutant."""
        lines = self.path.read_text().split("\n")
        at = lines.index(f"== {self.name}") + 1
        lines[at + 1 : at + 1 + lines[at + 1].startswith("Test: ")] = [f"Test: {test}"]
        self.path.write_text("\n".join(lines))


def parse(path: Path) -> list[Mutant]:
    """Returns the mutants of a file. Raises MutantError for a line that is not understood."""
    found: list[Mutant] = []
    empty = 0  # lines, which belong to an edit only if it goes on after them
    for number, line in enumerate(path.read_text().split("\n"), 1):
        mutant = found[-1] if found else None
        edit = mutant.edits[-1] if mutant and mutant.edits else None
        field, place = FIELD.fullmatch(line), EDIT.fullmatch(line)
        if line.startswith("== "):
            found.append(Mutant(path, number, line[3:], {}, []))
        elif mutant and place:
            mutant.edits.append(Edit(place[1], place[2] or ""))
        elif edit and line.startswith(("-", "+", " ")):
            for each in [" "] * empty + [line]:
                edit.add(each)
        elif mutant and not edit and field and field[1] not in mutant.fields:
            mutant.fields[field[1]] = field[2]
        elif line and (mutant or not line.startswith("#")):
            raise MutantError(f"{os.path.relpath(path)}:{number}: not understood: {line}")
        empty = 0 if line else empty + 1
    for mutant in found:
        check(mutant)
    return found


def check(mutant: Mutant) -> None:
    """Checks an entry without looking at the sources."""
    if not mutant.rules:
        raise MutantError(f"{mutant.where}: has no line `Breaks RULE, RULE: what it does wrong.`")
    if not mutant.edits:
        raise MutantError(f"{mutant.where}: has no edit, `@ FILE DEFINITION`")
    for edit in mutant.edits:
        if not edit.old or edit.old == edit.new:
            why = "changes nothing" if edit.old else "has no old text, which says where it is made"
            raise MutantError(f"{mutant.where}: the edit of {edit.file} {why}")


def load(folder: Path) -> list[Mutant]:
    """Returns all mutants of a folder. Raises MutantError if two have the same name."""
    found = [mutant for path in sorted(folder.glob("*.mutants")) for mutant in parse(path)]
    names: dict[str, Mutant] = {}
    for mutant in found:
        if names.setdefault(mutant.name, mutant) is not mutant:
            raise MutantError(f"{mutant.where}: the name is taken by {names[mutant.name].where}")
    return found
