# SPDX-License-Identifier: GPL-2.0
"""The kernel, unpacked on the host: in the guest that takes half of the boot."""

import gzip
import lzma
import os
import re
import struct
import subprocess

# QEMU starts an ELF kernel only at this entry (XEN_ELFNOTE_PHYS32_ENTRY).
PVH_NOTE = re.compile(rb"\x04\0\0\0[\x04\x08]\0\0\0\x12\0\0\0Xen\0")


def unpack(image):
    """The ELF file inside a bzImage, or None where it is packed otherwise.

    Documentation/x86/boot.rst of the kernel describes the header.
    """
    if image[0x202:0x206] != b"HdrS":
        return None
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    packed = image[start:start + length]
    # The unpacked size follows the packed data.
    if packed.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(packed)
    if packed.startswith(b"\x1f\x8b"):
        # Here that size is gzip's own trailer.
        return gzip.decompress(packed)
    if packed.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dcq"], input=packed[:-4],
                              stdout=subprocess.PIPE, check=True).stdout
    return None


def fastest(vmlinuz, keep_as):
    """What QEMU can start soonest: keep_as, unpacked, or vmlinuz itself."""
    if keep_as.exists() and keep_as.stat().st_mtime >= vmlinuz.stat().st_mtime:
        return keep_as
    elf = unpack(vmlinuz.read_bytes())
    if not elf or not PVH_NOTE.search(elf):
        return vmlinuz
    part = keep_as.with_name(f"{keep_as.name}.{os.getpid()}")
    part.write_bytes(elf)
    part.rename(keep_as)
    return keep_as
