/* SPDX-License-Identifier: MIT */
/*
 * The description of a function by its owner: what its configuration space contains, and which bits
 * of it the guest can write, or clears by writing ones. Pure.
 */
#include "dev/pci_internal.h"

#include "lib/assert.h"

static void allow(struct pci_function *f, unsigned offset, unsigned size, uint32_t mask)
{
    memcpy(&f->writable[offset], &mask, size);
}

void pci_function_init(struct pci_function *f, const char *name,
                       const struct pci_identity *identity)
{
    const uint16_t clears = STATUS_CLEARS;
    *f = (struct pci_function){.name = name, .config_used = PCI_HEADER_END};
    pci_set(f, PCI_VENDOR, 2, identity->vendor);
    pci_set(f, PCI_DEVICE, 2, identity->device);
    pci_set(f, PCI_REVISION, 4, identity->class_revision);
    pci_set(f, PCI_SUBVENDOR, 2, identity->subvendor);
    pci_set(f, PCI_SUBSYSTEM, 2, identity->subdevice);
    pci_set(f, PCI_INTERRUPT_PIN, 1, 1);
    allow(f, PCI_COMMAND, 2, COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_NO_INTX);
    allow(f, PCI_CACHE_LINE, 1, 0xff);
    allow(f, PCI_INTERRUPT_LINE, 1, 0xff);
    memcpy(&f->clears[PCI_STATUS], &clears, sizeof(clears));
    for (unsigned i = 0; i < PCI_VECTORS; i++)
        f->entries[i].control = MSIX_MASKED;
}

/* Only the address bits of a BAR can be written, which tells the guest its size. */
void pci_add_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind, uint64_t size,
                 const struct bus_ops *ops, void *device)
{
    const unsigned at = PCI_BAR_0 + 4 * bar;
    const bool wide = kind == PCI_BAR_64;
    BUG_ON(bar + wide >= PCI_BARS || f->bars[bar].kind || size < 16 || size & (size - 1));
    f->bars[bar] = (struct pci_bar){kind, size, ops, device, BUS_NOWHERE};
    pci_set(f, at, 4, wide ? BAR_TYPE_64 : 0);
    allow(f, at, 4, (uint32_t) ~(size - 1));
    if (wide)
        allow(f, at + 4, 4, (uint32_t)(~(size - 1) >> 32));
    f->writable[PCI_COMMAND] |= COMMAND_MEMORY;
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, const void *body, unsigned size)
{
    const unsigned at = f->config_used;
    BUG_ON(at + 2 + size > PCI_CONFIG_SIZE);
    f->config[at] = id;
    memcpy(&f->config[at + 2], body, size);
    f->config[f->last_capability ? f->last_capability + 1 : PCI_CAPABILITIES] = (uint8_t)at;
    f->config[PCI_STATUS] |= STATUS_CAPABILITIES;
    f->last_capability = at;
    f->config_used = (unsigned)align_up(at + 2 + size, 4);
    return at;
}

void pci_make_writable(struct pci_function *f, unsigned offset, unsigned size)
{
    BUG_ON(offset + size > PCI_CONFIG_SIZE);
    memset(&f->writable[offset], 0xff, size);
}

void pci_add_window(struct pci_function *f, unsigned offset, const struct bus_ops *ops,
                    void *device)
{
    BUG_ON(f->window || offset % 4 || offset < PCI_HEADER_END);
    f->window = offset;
    f->window_ops = ops;
    f->window_device = device;
}
