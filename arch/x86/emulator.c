/* SPDX-License-Identifier: MIT */
/* Recognizes emulated machines; see the header. Pure. */
#include "arch/x86/emulator.h"

#include "arch/x86/host_pci.h"
#include "lib/bits.h"

/* The host bridges that Bochs has. */
static const uint32_t old_bridges[] = {
    0x01228086, /* 430FX */
    0x12378086, /* 440FX */
    0x71908086, /* 440BX, with and without AGP */
    0x71928086,
};

bool emulator_has_ports(bool hypervisor)
{
    const struct host_pci_function bridge = {0};
    if (hypervisor || !host_pci_exists())
        return true;
    uint32_t id = host_pci_read(bridge, HOST_PCI_ID);
    for (unsigned i = 0; i < ARRAY_SIZE(old_bridges); i++)
        if (old_bridges[i] == id)
            return true;
    return false;
}
