/* SPDX-License-Identifier: MIT */
/* The two ports of PCI configuration mechanism #1; see the header. */
#include "arch/x86/host_pci.h"

#include "arch/x86/cpu.h"

#define PCI_ADDRESS_PORT 0xcf8
#define PCI_DATA_PORT    0xcfc
#define PCI_ENABLE       BIT(31)

/* Only accesses of 32 bits reach the address register; the port keeps what it held. */
bool host_pci_port_exists(void)
{
    uint32_t before = inl(PCI_ADDRESS_PORT);
    outl(PCI_ADDRESS_PORT, (uint32_t)PCI_ENABLE);
    bool kept = inl(PCI_ADDRESS_PORT) == PCI_ENABLE;
    outl(PCI_ADDRESS_PORT, before);
    return kept;
}

uint32_t host_pci_port_read(uint32_t address)
{
    outl(PCI_ADDRESS_PORT, address);
    return inl(PCI_DATA_PORT);
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    outl(PCI_ADDRESS_PORT, address);
    outl(PCI_DATA_PORT, value);
}
