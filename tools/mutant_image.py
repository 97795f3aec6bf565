# SPDX-License-Identifier: MIT
"""A scratch copy of the tree, where the image is built with a mutant in it and boots. For
mutants.py and gaps.py; `make all guests build/optrom.bin` comes before."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import layers
from mutation import Mutant, MutantError

ROOT = Path(__file__).resolve().parent.parent
COPIED = ["Makefile", *layers.LAYERS, "guest", "tools", "linker.ld", "README.md", "docs",
          "tests/unit", "tests/target", "build/obj", "build/guest", "build/font.c",
          "build/quote_key.c", "build/shim", "build/optrom.bin"]  # fmt: skip
IMAGES = ["build/eptvisor.elf", "build/eptvisor32.elf"]
# Copied where they exist: the Linux kernels below the image and in its VMs, and the initrd's
# programs.
LINUX = ["build/kvm/kernel", "build/kvm/nested", "build/linux/kernels/trixie-cloud",
         *(f"build/linux/{name}" for name in ("busybox", "tsc", "mark", "tdreport"))]  # fmt: skip


class Image:
    def __init__(self, path: Path) -> None:
        """Copies the sources and the objects with their times, so that only what a mutant touches
        is compiled."""
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        for name in COPIED + IMAGES + [name for name in LINUX if (ROOT / name).exists()]:
            source, target = ROOT / name, path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)

    def run(self, *command: str, stdin: str = "", **environment: str) -> str:
        """Returns the command's output, followed by a line "failed" if the command failed."""
        result = subprocess.run(command, cwd=self.path, env={**os.environ, **environment},
                                text=True, errors="replace", input=stdin, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)  # fmt: skip
        return result.stdout if result.returncode == 0 else f"{result.stdout}\nfailed"

    def builds(self) -> bool:
        return not self.run("make", *IMAGES, "Q=@").endswith("\nfailed")

    @contextlib.contextmanager
    def broken_by(self, mutant: Mutant) -> Iterator[str]:
        """Applies the mutant and builds. Yields what went wrong, or an empty text. Restores the
        sources afterwards."""
        sound = {file: (self.path / file).read_bytes() for file in mutant.files}
        try:
            mutant.apply(self.path)
        except MutantError as error:
            yield str(error)
            return
        try:
            yield "" if self.builds() else "does not compile"
        finally:
            for file, content in sound.items():
                (self.path / file).write_bytes(content)

    def passes(self, test: str) -> bool:
        """Runs `test_file.py::test` with the image that was built last. A boot that hangs fails
        when its limit of CPU time is reached."""
        command = ["/usr/bin/python3", "-m", "pytest", "-q", "-x", f"tests/target/{test}"]
        ours = {name: value for name, value in os.environ.items() if name != "GUESTS"}
        pytest = subprocess.run(command, cwd=self.path, env=ours, text=True, errors="replace",
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)  # fmt: skip
        if pytest.returncode > 1:
            raise MutantError(f"{test} cannot be run\n{pytest.stdout}")
        return pytest.returncode == 0
