# SPDX-License-Identifier: MIT
"""The pieces of `make debian`: how the image of a whole Debian is made, when that is refused, and
the VM that boots it. To install and to boot a whole Debian takes too long for a test."""

import os
import pathlib
import subprocess

import linux
import pytest
from conftest import ROOT
from harness import debian
from harness.errors import HarnessError

IMAGE = ROOT / "tools/debian/image.sh"
# A package manager whose only package is a kernel.
MMDEBSTRAP = r"""#!/bin/sh
echo "$@" >"$TESTDIR/arguments"
[ -z "$FAILS" ] || { echo "E: no network"; exit 1; }
for word; do before=$tree tree=$last last=$word; done
mkdir -p "$tree/boot" "$tree/etc/systemd/system" "$tree/usr/local/bin" "$tree/var/lib/dpkg/info"
echo the kernel >"$tree/boot/vmlinuz-6.1.0-50-cloud-amd64"
echo the initramfs >"$tree/boot/initrd.img-6.1.0-50-cloud-amd64"
cat >"$tree/var/lib/dpkg/status" <<'END'
Package: linux-image-6.1.0-50-cloud-amd64
Status: install ok installed
Version: 6.1.176-1
Architecture: amd64
Maintainer: x <x@x>
Description: x

END
"""
# Programs that take the place of those that need root, or that say how this computer is.
FAKES = {
    "mmdebstrap": MMDEBSTRAP,
    "chroot": '#!/bin/sh\nshift\necho "$@" >"$TESTDIR/chroot"\n',
    "unshare": '#!/bin/sh\nshift\nexec "$@"\n',
    "id": '#!/bin/sh\necho "${USER_ID:-0}"\n',
    "df": '#!/bin/sh\necho Avail\necho "${FREE:-5000}"\n',
    "sudo": '#!/bin/sh\necho "sudo $@"\n',
}


@pytest.fixture
def image(tmp_path: pathlib.Path):
    """image(RELEASE, VARIABLE=...) runs tools/debian/image.sh with these programs."""
    (tmp_path / "bin").mkdir()
    for name, text in FAKES.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def run(release: str = "bookworm", **env: str) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TESTDIR": str(tmp_path)}
        return subprocess.run([IMAGE, tmp_path / "out", release], env=os.environ | path | env,
                              capture_output=True, text=True, check=False)  # fmt: skip

    return run


def inside(folder: pathlib.Path, command: str) -> str:
    """What debugfs prints about the file system in the image."""
    return subprocess.check_output(["/usr/sbin/debugfs", "-R", command, folder / "root.img"],
                                   text=True, stderr=subprocess.DEVNULL)  # fmt: skip


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_an_image_is_made(image, tmp_path: pathlib.Path, release: str) -> None:
    if subprocess.run([ROOT / "tools/deps.sh", "debian"], check=False).returncode:
        pytest.skip("no mmdebstrap")
    done = image(release)
    assert done.returncode == 0, done.stderr
    assert f"makes the image of Debian {release}, once. It downloads" in done.stderr
    out = tmp_path / "out"
    names = ["initrd.img", "package", "root.img", "vmlinuz"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert [path.name for path in tmp_path.glob("out*")] == ["out"]
    assert (out / "vmlinuz").read_text() == "the kernel\n"
    assert (out / "initrd.img").read_text() == "the initramfs\n"
    assert "6.1.176-1" in (out / "package").read_text()
    assert 300 << 20 <= (out / "root.img").stat().st_size <= 400 << 20
    assert inside(out, "cat /etc/hostname") == "debian\n"
    assert inside(out, "cat /etc/fstab").startswith("/dev/vda / ext4 ")
    assert "DeviceTimeoutSec=infinity" in inside(out, "cat /etc/systemd/system.conf.d/slow.conf")
    assert 'dest: "/dev/null"' in inside(out, "stat /etc/systemd/system/e2scrub_reap.service")
    assert '"hvc0", ENV{SYSTEMD_WANTS}' in inside(out, "cat /etc/udev/rules.d/hvc0.rules")
    assert inside(out, "cat /usr/local/bin/resize").startswith("#!/bin/bash\n")
    assert (tmp_path / "chroot").read_text() == "passwd --quiet --delete root\n"
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[-3] == release and arguments[-2].endswith("out.new/tree")
    assert any("linux-image-cloud-amd64" in word for word in arguments)


@pytest.mark.parametrize(
    ("release", "env", "sentence"),
    [
        ("sid", {}, "debian: RELEASE=sid: choose from bookworm and trixie\n"),
        ("bookworm", {"FREE": "1499"}, "debian: to make its image takes 1500 MiB of disk, and "),
        ("bookworm", {"USER_ID": "1000", "NO_DEPS": "1"}, "debian: its image can only be made by "
         "root; as root, type: "),
        ("bookworm", {"FAILS": "1"}, "E: no network\ndebian: the packages of Debian bookworm could "
         "not be installed; all messages are in "),
    ],
)  # fmt: skip
def test_no_image_is_made(image, tmp_path, release: str, env: dict, sentence: str) -> None:
    done = image(release, **env)
    assert done.returncode == 1
    assert sentence in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
    assert "FAILS" in env or not (tmp_path / "arguments").exists()


def test_sudo_makes_it(image, tmp_path) -> None:
    done = image(USER_ID="1000", NO_DEPS="")
    assert (done.returncode, done.stdout) == (0, f"sudo {IMAGE} {tmp_path}/out bookworm\n")


@pytest.mark.parametrize("where", ["environment", "command line"])
def test_the_release_is_given_to_make(where: str) -> None:
    """As all options, in the environment or on the command line."""
    given = {"RELEASE": "trixie"} if where == "environment" else {}
    command = ["make", "-s", "--eval=show: ; @echo $(RELEASE)", "show"]
    command += [] if given else ["RELEASE=trixie"]
    shown = subprocess.check_output(command, cwd=ROOT, text=True, env=os.environ | given)
    assert shown == "trixie\n"


@pytest.fixture
def system(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder as image.sh makes it."""
    monkeypatch.setattr(debian, "SYSTEMS", tmp_path)
    for name in ("KERNEL", "INITRD", "CMDLINE", "DISK", "WORDS", "ESCAPE", "NAME", "PCI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELEASE", "trixie")
    folder = tmp_path / "trixie"
    folder.mkdir()
    for name, mib in (("vmlinuz", 1), ("initrd.img", 2), ("root.img", 40)):
        (folder / name).write_bytes(bytes(mib << 20))
    return folder


def test_the_vm_of_a_whole_debian(system, monkeypatch) -> None:
    boot = linux.machine("debian", vms=1, vcpus=2, mem=512)
    kernel, initrd, root = boot.guests
    assert (kernel.path, kernel.name) == (system / "vmlinuz", "debian")
    assert {"mem=512M", "vcpus=2", "live"} <= set(kernel.words)
    assert "root=/dev/vda" in kernel.args and "console=ttyS0" in kernel.args
    assert (initrd.path, initrd.words) == (system / "initrd.img", ("initrd",))
    assert (root.path, root.words) == (system / "root.img", ("disk",))
    assert (boot.smp, boot.name) == (2, "debian")
    # The modules are in RAM, too, and so is a copy of each block of the disk that is written.
    assert 512 + 43 + 40 < boot.mem < 512 + 43 + 40 + 100
    # What the user gives takes the place of it, and his disks come behind that of the system.
    monkeypatch.setenv("KERNEL", str(IMAGE))
    monkeypatch.setenv("CMDLINE", "root=/dev/vda single")
    monkeypatch.setenv("DISK", f"{IMAGE}:ro")
    kernel, initrd, root, more = linux.machine("debian", 1, 2, 512).guests
    assert (kernel.path, kernel.args) == (IMAGE, "root=/dev/vda single")
    assert (root.words, more.path, more.words) == (("disk",), IMAGE, ("disk=ro",))
    # By PCI, it has a console of its own, on which it shows what it says.
    monkeypatch.setenv("PCI", "1")
    monkeypatch.delenv("CMDLINE")
    kernel = linux.machine("debian", 1, 2, 512).guests[0]
    assert {"pci", "live"} <= set(kernel.words) and "console=hvc0" in kernel.args
    assert "root=/dev/vda" in kernel.args
    monkeypatch.delenv("PCI")
    # Two of them have the same image, and names of their own.
    monkeypatch.delenv("DISK")
    names = [guest.name for guest in linux.machine("debian", 2, 2, 512).guests]
    assert names == ["debian", "+debian-initrd", "+debian-root",
                     "debian2", "+debian2-initrd", "+debian2-root"]  # fmt: skip


def test_without_its_image(system) -> None:
    (system / "root.img").unlink()
    with pytest.raises(HarnessError, match=r"/trixie/root\.img is not there; `make debian` makes"):
        linux.machine("debian", 1, 2, 512)
