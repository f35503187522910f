# SPDX-License-Identifier: GPL-2.0
"""The guest's initramfs: busybox, tests/vm/init and a handful of modules."""

import os
import shutil
import subprocess
from pathlib import Path

# Needed before the root is there. A kernel that has one built in is fine.
BOOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console"]


def find_tool(name):
    """Like which(1), but also where only root has it in PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") +
                        ":/usr/sbin:/sbin")


class Image:
    """A cpio archive (newc), uncompressed: the guest is slow at unpacking."""

    def __init__(self):
        self.parts = []
        self.directories = set()
        for name in "dev", "proc", "sys":
            self._directory(name)

    def _entry(self, name, mode, data=b""):
        path = name.encode() + b"\0"
        fields = [len(self.parts) + 1, mode, 0, 0, 1, 0, len(data),
                  0, 0, 0, 0, len(path), 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + path
        for part in head, data:
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def _directory(self, name):
        if name and name not in self.directories:
            self._directory(os.path.dirname(name))
            self.directories.add(name)
            self._entry(name, 0o040755)

    def add(self, name, data, mode=0o644):
        self._directory(os.path.dirname(name))
        self._entry(name, 0o100000 | mode, data)

    def add_file(self, name, path, mode=0o644):
        self.add(name, Path(path).read_bytes(), mode)

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        data = b"".join(self.parts)
        return data + b"\0" * (-len(data) % 512)


def add_modules(image, kernel):
    """Put what boots the guest into guest/modules; return the order."""
    version = (kernel / "version").read_text().strip()
    order = []
    for module in BOOT_MODULES:
        listed = subprocess.run(
            [find_tool("modprobe"), "-d", kernel, "-S", version,
             "--show-depends", module],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in listed.splitlines():
            word, _, path = line.strip().partition(" ")
            if word != "insmod":
                continue
            path = Path(path.strip())
            if path.name not in order:
                image.add_file(f"guest/modules/{path.name}", path)
                order.append(path.name)
    return order
