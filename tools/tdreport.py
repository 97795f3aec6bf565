#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks the TDREPORT of a TD: `tdreport.py REPORT [FILE STRING]...`.

REPORT is a file with the report's 1024 bytes, or with their hexadecimal digits (the console's log
of a guest that printed them: lines of digits, maybe in groups and with the VM's name in front), or
`-` for standard input. Each FILE and STRING is a module as the boot loader was given it: the kernel
with its string (`/linux tdx mem=512M -- console=ttyS0`), then the modules that belong to it
(`+initrd initrd`). All fields are printed by name. Without modules, only the hashes
in the report and the fields with constant values are checked. With them, MRTD, the RTMRs and the
attributes are computed from the files, with what the boot shim measures, and compared.

Options: --data HEX, the 64 bytes that the TD has put into the report (or their beginning, before
zeros); --rtmr N HEX, another extension of RTMR N, by the guest itself, after those of the shim.

The MAC is the only thing that cannot be checked here, because its key never leaves the machine: the
leaf MR.VERIFYREPORT checks it there. The exit status is 0 if all fields are as
expected, 1 if not, and 2 if the report could not be checked.
"""

import dataclasses
import hashlib
import pathlib
import re
import struct
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGE_TOOL = ROOT / "build/tdimage"

SIZE = 1024
DIGEST = 48
RTMRS = 4
MODULE = b"eptvisor, which is not Intel's TDX module"
SIGNER = b"nobody has signed this, least of all Intel"
TCB_INFO = slice(256, 256 + 239)  # what TEE_TCB_INFO_HASH covers
TD_INFO = slice(512, 1024)

# Names, offsets and sizes as the ABI specification of the TDX module has them.
FIELDS = {
    "REPORTTYPE": (0, 4),
    "RESERVED_4": (4, 12),
    "CPUSVN": (16, 16),
    "TEE_TCB_INFO_HASH": (32, DIGEST),
    "TEE_INFO_HASH": (80, DIGEST),
    "REPORTDATA": (128, 64),
    "RESERVED_192": (192, 32),
    "MAC": (224, 32),
    "TEE_TCB_INFO.VALID": (256, 8),
    "TEE_TCB_INFO.TEE_TCB_SVN": (264, 16),
    "TEE_TCB_INFO.MRSEAM": (280, DIGEST),
    "TEE_TCB_INFO.MRSIGNERSEAM": (328, DIGEST),
    "TEE_TCB_INFO.ATTRIBUTES": (376, 8),
    "TEE_TCB_INFO.TEE_TCB_SVN2": (384, 16),
    "TEE_TCB_INFO.RESERVED": (400, 95),
    "RESERVED_495": (495, 17),
    "ATTRIBUTES": (512, 8),
    "XFAM": (520, 8),
    "MRTD": (528, DIGEST),
    "MRCONFIGID": (576, DIGEST),
    "MROWNER": (624, DIGEST),
    "MROWNERCONFIG": (672, DIGEST),
    "RTMR0": (720, DIGEST),
    "RTMR1": (768, DIGEST),
    "RTMR2": (816, DIGEST),
    "RTMR3": (864, DIGEST),
    "SERVTD_HASH": (912, DIGEST),
    "RESERVED_960": (960, 64),
}
TEXTS = ("TEE_TCB_INFO.MRSEAM", "TEE_TCB_INFO.MRSIGNERSEAM")
NUMBERS = ("TEE_TCB_INFO.VALID", "TEE_TCB_INFO.ATTRIBUTES", "ATTRIBUTES", "XFAM")

ATTRIBUTE_NAMES = {0: "DEBUG", 28: "SEPT_VE_DISABLE"}
SVN = bytes([0, 1])  # TDX 1.5

PAGE = 4096
CHUNK = 256  # bytes that one MR.EXTEND measures


class CannotSay(Exception):
    """The report cannot be checked; the message says why."""


def sha384(*parts: bytes) -> bytes:
    digest = hashlib.sha384()
    for part in parts:
        digest.update(part)
    return digest.digest()


# ---- The report --------------------------------------------------------------------------------

# A line of digits: maybe something before them, and groups of whole bytes.
DIGITS = re.compile(r"^(?:.*?[\s:>|\]#])?((?:[0-9a-fA-F]{2})+(?:\s+(?:[0-9a-fA-F]{2})+)*)\s*$")


def digit_blocks(text: str) -> Iterator[bytes]:
    """The bytes of each series of lines of digits."""
    block = b""
    for line in [*text.splitlines(), "end"]:
        match = DIGITS.match(line)
        if match and (block or len(match[1]) >= 16):
            block += bytes.fromhex(match[1])
        elif block:
            yield block
            block = b""


def report_of(content: bytes) -> bytes:
    """The last report in a file: its bytes, or its digits among other text."""
    if len(content) == SIZE and content[0] == 0x81:
        return content
    blocks = list(digit_blocks(content.decode("ascii", "replace")))
    found = [block for block in blocks if len(block) == SIZE]
    if not found:
        sizes = ", ".join(str(len(block)) for block in blocks) or "none"
        raise CannotSay(
            f"there are no {SIZE} bytes of a TDREPORT, binary or as lines of hexadecimal digits; "
            f"the file has {len(content)} bytes, and its series of digits are this many bytes: "
            f"{sizes}"
        )
    return found[-1]


def field(report: bytes, name: str) -> bytes:
    offset, size = FIELDS[name]
    return report[offset : offset + size]


def shown(name: str, value: bytes) -> str:
    """A field for people: texts in quotes, numbers as such, and zeros in a word."""
    if not any(value):
        return "0" if name in NUMBERS else "zero"
    if name in NUMBERS:
        number = int.from_bytes(value, "little")
        bits = [ATTRIBUTE_NAMES.get(i, f"bit {i}") for i in range(64) if number >> i & 1]
        return f"{number:#x}" + (f" ({', '.join(bits)})" if name == "ATTRIBUTES" else "")
    text = value.rstrip(b"\0")
    if name in TEXTS and text and all(32 <= byte < 127 for byte in text):
        return f'"{text.decode("ascii")}"'
    return value.hex()


# ---- Expected values
# ------------------------------------------------------------------------------


def padded(value: bytes, name: str) -> bytes:
    return value.ljust(FIELDS[name][1], b"\0")


def always(report: bytes) -> dict[str, bytes]:
    """Returns the fields that are the same in each TD of eptvisor, and the hashes."""
    zero = [name for name in FIELDS if "RESERVED" in name]
    zero += ["CPUSVN", "TEE_TCB_INFO.ATTRIBUTES", "MRCONFIGID", "MROWNER", "MROWNERCONFIG"]
    zero += ["SERVTD_HASH"]
    return {
        **{name: padded(b"", name) for name in zero},
        "REPORTTYPE": bytes([0x81, 0, 0, 0]),
        "TEE_TCB_INFO.VALID": (0x3FFFF).to_bytes(8, "little"),
        "TEE_TCB_INFO.TEE_TCB_SVN": padded(SVN, "TEE_TCB_INFO.TEE_TCB_SVN"),
        "TEE_TCB_INFO.TEE_TCB_SVN2": padded(SVN, "TEE_TCB_INFO.TEE_TCB_SVN2"),
        "TEE_TCB_INFO.MRSEAM": padded(MODULE, "TEE_TCB_INFO.MRSEAM"),
        "TEE_TCB_INFO.MRSIGNERSEAM": padded(SIGNER, "TEE_TCB_INFO.MRSIGNERSEAM"),
        "TEE_TCB_INFO_HASH": sha384(report[TCB_INFO]),
        "TEE_INFO_HASH": sha384(report[TD_INFO]),
    }


@dataclasses.dataclass
class Image:
    """The initial image of a TD: its pages in the order in which they are added."""

    pages: dict[int, bytes]
    measured: set[int]  # whose contents are measured

    def mrtd(self) -> bytes:
        """As TDH.MEM.PAGE.ADD, TDH.MR.EXTEND and TDH.MR.FINALIZE compute it."""
        digest = hashlib.sha384()
        for gpa, content in self.pages.items():
            digest.update(struct.pack("<16sQ104x", b"MEM.PAGE.ADD", gpa))
            if gpa not in self.measured:
                continue
            for at in range(0, PAGE, CHUNK):
                digest.update(struct.pack("<16sQ104x", b"MR.EXTEND", gpa + at))
                digest.update(content[at : at + CHUNK])
        return digest.digest()

    def read(self, gpa: int, size: int) -> bytes:
        """Memory as the boot shim finds it, where what is not in the image is zero."""
        end = gpa + size
        first = gpa - gpa % PAGE
        zero = bytes(PAGE)
        pages = b"".join(self.pages.get(page, zero) for page in range(first, end, PAGE))
        return pages[gpa - first :][:size]


# guest/shim/interface.h
SHIM_PARAMETERS = 0xFFFF0000
SHIM_MAGIC = 0x4D49485356545045
SHIM_VERSION = 2
SHIM_HEAD = struct.Struct("<QIIQQII")
SHIM_RANGES = 8
SHIM_ITEM = struct.Struct("<QQII")


@dataclasses.dataclass
class Event:
    """What the boot shim measures: RTMR `rtmr` is extended by the digest of these bytes."""

    rtmr: int
    gpa: int
    content: bytes

    @property
    def digest(self) -> bytes:
        return sha384(self.content)


def shim_events(image: Image) -> list[Event]:
    """Returns what the boot shim measures according to its parameters, in this order."""
    page = image.read(SHIM_PARAMETERS, PAGE)
    magic, version, _, _, _, _, items = SHIM_HEAD.unpack_from(page)
    if magic != SHIM_MAGIC or version != SHIM_VERSION:
        raise CannotSay(
            f"the page at {SHIM_PARAMETERS:#x} does not hold the parameters of a boot shim of "
            f"version {SHIM_VERSION}: build/tdimage and this program are not of the same version"
        )
    events = []
    for i in range(items):
        at = SHIM_HEAD.size + SHIM_RANGES * 16 + i * SHIM_ITEM.size
        base, size, rtmr, _ = SHIM_ITEM.unpack_from(page, at)
        events.append(Event(rtmr, base, image.read(base, size)))
    return events


def rtmrs(events: list[Event], more: list[tuple[int, bytes]]) -> list[bytes]:
    values = [bytes(DIGEST)] * RTMRS
    for rtmr, data in [*((event.rtmr, event.digest) for event in events), *more]:
        values[rtmr] = sha384(values[rtmr], data)
    return values


def image_of(modules: list[tuple[str, str]]) -> Image:
    """Returns the image that the hypervisor's own loader makes of these files."""
    if not IMAGE_TOOL.exists():
        raise CannotSay(f"{IMAGE_TOOL} does not exist; type: make tdimage")
    command = [str(IMAGE_TOOL), *(argument for module in modules for argument in module)]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode:
        raise CannotSay(f"no TD can be made of these modules: {result.stderr.decode().strip()}")
    record = struct.Struct(f"<QQ{PAGE}s")
    image = Image({}, set())
    for gpa, extend, content in record.iter_unpack(result.stdout):
        image.pages[gpa] = content
        if extend:
            image.measured.add(gpa)
    return image


def attributes_of(string: str) -> bytes:
    """ATTRIBUTES of the TD with this string: SEPT_VE_DISABLE, and DEBUG if it has tdx=debug."""
    words = string.partition(" -- ")[0].split()
    return (1 << 28 | ("tdx=debug" in words)).to_bytes(8, "little")


def of_the_files(modules: list[tuple[str, str]], more: list[tuple[int, bytes]]) -> dict[str, bytes]:
    image = image_of(modules)
    values = rtmrs(shim_events(image), more)
    return {
        "ATTRIBUTES": attributes_of(modules[0][1]),
        "MRTD": image.mrtd(),
        **{f"RTMR{i}": value for i, value in enumerate(values)},
    }


# ---- The result ----------------------------------------------------------------------------------


def differences(report: bytes, expected: dict[str, bytes]) -> list[str]:
    """Returns a line for each field with an unexpected value, in the report's order."""
    return [
        f"{name} is {shown(name, field(report, name))}, should be {shown(name, expected[name])}"
        for name in FIELDS
        if name in expected and field(report, name) != expected[name]
    ]


@dataclasses.dataclass
class Options:
    report: str
    modules: list[tuple[str, str]]
    data: bytes | None
    more: list[tuple[int, bytes]]


def options(arguments: list[str]) -> Options:
    result = Options("", [], None, [])
    rest = []
    words = iter(arguments)
    try:
        for word in words:
            if word == "--data":
                result.data = padded(bytes.fromhex(next(words)), "REPORTDATA")
            elif word == "--rtmr":
                result.more.append((range(RTMRS)[int(next(words))], bytes.fromhex(next(words))))
            else:
                rest.append(word)
        result.report = rest[0]
        result.modules = list(zip(rest[1::2], rest[2::2], strict=True))
    except (StopIteration, ValueError, IndexError) as error:
        raise CannotSay(__doc__ or "") from error
    if result.more and not result.modules:
        raise CannotSay("--rtmr is what a guest adds to the shim's measurements; give the modules")
    return result


def check(report: bytes, wanted: Options) -> list[str]:
    expected = always(report)
    if wanted.data is not None:
        expected["REPORTDATA"] = wanted.data
    if wanted.modules:
        expected |= of_the_files(wanted.modules, wanted.more)
    return differences(report, expected)


def main() -> int:
    try:
        wanted = options(sys.argv[1:])
        source = sys.stdin.buffer if wanted.report == "-" else None
        content = source.read() if source else pathlib.Path(wanted.report).read_bytes()
        report = report_of(content)
        for name in FIELDS:
            print(f"{name:26} {shown(name, field(report, name))}")
        wrong = check(report, wanted)
    except (CannotSay, OSError) as error:
        print(f"tdreport: {error}", file=sys.stderr)
        return 2
    for line in wrong:
        print(f"WRONG: {line}")
    if not wrong:
        compared = "MRTD, RTMRs and attributes are those of the files" if wanted.modules else (
            "its hashes and constant fields are right; MRTD and RTMRs were not checked")
        print(f"OK: {compared}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
