# SPDX-License-Identifier: MIT
"""The menu of the image for real machines, and the folder with GRUB's configuration and the files
that it loads. `make image` and `make netboot` use the same ones."""

import dataclasses
import pathlib
import shutil
import subprocess

from .boot import BUILD, Guest
from .box import BENCH, TEST
from .errors import HarnessError
from .grub import load, quote

IMAGE = BUILD / "eptvisor.elf"
HOME = "eptvisor"  # beside grub.cfg: what the menu loads
BITS = {"shared=39": "shared=35", "execute_only=38": "execute_only=34"}
TIMEOUT = 10  # seconds until the first entry is chosen
# At the end the machine stands still, so that the result stays on the screen. Who types at GRUB's
# prompt, as the harness does on a serial port (harness/box.py), can set both variables.
ALWAYS = "on_exit=$on_exit $words"


@dataclasses.dataclass(frozen=True)
class Entry:
    name: str
    key: str
    title: str
    words: str = ""  # for the hypervisor
    guests: tuple[Guest, ...] = ()
    by_serial: bool = False  # of use only for somebody, or a program, at the serial port


@dataclasses.dataclass(frozen=True)
class Way:
    """A way in which each entry is offered: on the first page of the menu, or on one of its own."""

    page: str = ""
    key: str = ""
    title: str = ""
    words: str = ""  # for the hypervisor

    def name(self, entry: Entry) -> str:
        return f"{entry.name}-{self.page}" if self.page else entry.name

    def offers(self, entry: Entry) -> bool:
        return not (entry.by_serial and "serial=off" in self.words.split())


WAYS = (
    Way(),
    Way("screen", "s", "Screen only: no serial port is used", "serial=off pause=1 qr=1"),
)


def entries(guests: dict[str, tuple[Guest, ...]]) -> tuple[Entry, ...]:
    """The menu, in its order, with the guests of each entry. The first entry is the default."""
    rows = (
        Entry("checks", "1", "Checks: the guests of `make run`"),
        Entry("report", "2", "The report alone: what this machine is", "report"),
        Entry("linux", "3", "Linux in a VM, which checks the VM and ends"),
        Entry("stress", "4", "Stress: memory changes under the accesses of several CPUs",
              "parallel=1"),
        Entry("shell", "5", "Linux in a VM, with a shell on the serial port", by_serial=True),
        # tools/box.py chooses these two by their keys.
        Entry("test", TEST, "All guests: `make test MACHINE=serial`", "report", by_serial=True),
        Entry("bench", BENCH, "Costs: `make bench MACHINE=serial`",
              "report parallel=1 mitigations=off", by_serial=True),
    )  # fmt: skip
    return tuple(dataclasses.replace(row, guests=guests.get(row.name, ())) for row in rows)


def on_any_cpu(guest: Guest) -> Guest:
    """The emulators have addresses of 40 bits, and many PCs only of 36 or 39; so the bits that the
    guests' words take from addresses are lower ones here. A TD's shared bit is fixed."""
    words = tuple(BITS.get(word, word) for word in guest.words)
    return dataclasses.replace(guest, words=words)


HEAD = """\
# The menu of eptvisor, written by `make image` or `make netboot`.
set pager=0
set on_exit=halt
set words=
export on_exit words
if serial --unit=0 --speed=115200; then
    terminal_input console serial
    terminal_output console serial
fi
# Where the firmware has no text mode, the screen is a framebuffer, and without a driver for it
# GRUB does not tell the hypervisor where it is. `keep` would keep the mode of a graphical menu,
# and this menu is none: then there would be no screen at all.
insmod all_video
set gfxpayload=auto
export gfxpayload
# This never returns: GRUB would boot what it has loaded so far.
function failed {
    echo
    echo "GRUB could not load $1."
    echo "The reason is above. If the copy is damaged or incomplete, make another one."
    echo "ESC restarts the machine; so do five minutes."
    sleep --interruptible 300
    reboot
}
"""
TAIL = """\
if [ "$grub_platform" = efi ]; then
    menuentry 'f  The settings of the firmware' --hotkey=f {
        fwsetup
    }
fi
menuentry 'r  Restart the machine' --hotkey=r {
    reboot
}
"""


def place(guest: Guest) -> str:
    """Where the file of a module is, below HOME. Entries share files."""
    return f"{guest.path.parent.name}/{guest.path.name}"


def menu_entry(entry: Entry, way: Way) -> str:
    line = f"{entry.words} {way.words}".split()
    loads = [["multiboot2", f"$prefix/{HOME}/{IMAGE.name}", *map(quote, line), ALWAYS]]
    for guest in map(on_any_cpu, entry.guests):
        file = f"$prefix/{HOME}/{place(guest)}"
        loads.append(["module2", file, *map(quote, guest.string.split())])
    body = "".join(load(words, f'failed "{words[1]}"') for words in loads)
    head = f"{quote(f'{entry.key}  {entry.title}')} --id {way.name(entry)} --hotkey={entry.key}"
    what = f"echo 'Loading the hypervisor and {len(entry.guests)} files ...'"
    return f"menuentry {head} {{\n{what}\n{body}}}\n"


def config(offered: tuple[Entry, ...], default: str = "", timeout: int = TIMEOUT) -> str:
    """GRUB's configuration. `default` is the name of an entry, of which `timeout` seconds are left
    to choose another one."""
    paths = {way.name(entry): f"{way.page}>{way.name(entry)}".removeprefix(">")
             for way in WAYS for entry in filter(way.offers, offered)}  # fmt: skip
    default = default or next(iter(paths))
    if default not in paths:
        raise HarnessError(f"DEFAULT={default}: the menu has {', '.join(paths)}")
    text = f"{HEAD}set timeout={timeout}\nset default={quote(paths[default])}\n"
    for way in WAYS:
        page = "".join(menu_entry(entry, way) for entry in filter(way.offers, offered))
        if way.page:
            head = f"{quote(f'{way.key}  {way.title}')} --id {way.page} --hotkey={way.key}"
            page = f"submenu {head} {{\n{page}}}\n"
        text += page
    return text + TAIL


def write_files(folder: pathlib.Path, offered: tuple[Entry, ...], config_text: str) -> None:
    """Fills the folder of GRUB's configuration."""
    files: dict[str, pathlib.Path] = {}
    for guest in (guest for entry in offered for guest in entry.guests):
        other = files.setdefault(place(guest), guest.path)
        if other != guest.path:
            raise HarnessError(f"{other} and {guest.path} would be the same file of the image; "
                               "rename one of them")  # fmt: skip
    if not IMAGE.is_file():
        raise HarnessError(f"{IMAGE} does not exist; `make` builds it")
    (folder / HOME).mkdir(parents=True)
    (folder / "grub.cfg").write_text(config_text)
    # GRUB would load the symbols for a debugger, too, which take most of the file.
    subprocess.run(["objcopy", "--strip-debug", IMAGE, folder / HOME / IMAGE.name], check=True)
    for name, path in files.items():
        (folder / HOME / name).parent.mkdir(exist_ok=True)
        shutil.copy(path, folder / HOME / name)
