"""What QEMU is told so that a machine boots from the network, as metal does.

Knows the firmware that Debian has for QEMU. Refuses to know what the network
offers to boot from.
"""

import shutil
from pathlib import Path

from .errors import Failed

# Packages seabios (a part of QEMU's), ipxe-qemu and ovmf.
BIOS, UEFI = "BIOS", "UEFI"
UEFI_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
UEFI_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# Of each machine one, empty: nothing that could be booted by mistake.
DISK_MB = 64


def options(kind, machine):
    """The options for this kind of firmware; its variables are the machine's own file."""
    if kind == BIOS:
        # The firmware says on the serial line what it would say on the screen.
        return ["-M", "q35,graphics=off"]
    for path in (UEFI_CODE, UEFI_VARIABLES):
        if not path.exists():
            raise Failed(f"there is no {path}: install ovmf (scripts/setup)")
    own = machine.lab.directory / f"{machine.name}.variables"
    shutil.copyfile(UEFI_VARIABLES, own)
    flash = "if=pflash,unit={},format=raw,file={},readonly={}"
    line = ["-M", "q35", "-drive", flash.format(0, UEFI_CODE, "on")]
    return [*line, "-drive", flash.format(1, own, "off")]


def card(kind, first):
    """What is added to a network card; firmware boots from the first one.

    QEMU brings an iPXE for its cards, which OVMF has no need of: it has a
    driver and a PXE of its own, as a metal machine's firmware has.
    """
    rom = "" if kind == BIOS and first else ",romfile="
    return rom + (",bootindex=1" if kind and first else "")


def empty_disk(path):
    """A disk with nothing on it, in this file."""
    with open(path, "wb") as file:
        file.truncate(DISK_MB << 20)
    return path
