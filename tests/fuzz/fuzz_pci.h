/* SPDX-License-Identifier: MIT */
/*
 * What a hostile driver does to the PCI function of a virtio device, from the bytes that take()
 * gives: accesses of BAR 0, of the MSI-X table, and of the configuration space with its window.
 * Included after the definition of take().
 */
#pragma once

#include "tests/unit/dev/virtio_driver.h"

/* Writes a place in BAR 0, most often a register of the common configuration by its width. */
static inline void fuzz_bar(void)
{
    static const uint8_t places[] = {0,  4,  8,  12, 16, 18, 20, 21, 22, 24, 26,
                                     28, 30, 32, 36, 40, 44, 48, 52, 56, 58};
    uint32_t kind = take(1), offset = take(2) % 0x4000, size = 1u << kind % 3;
    uint32_t value = take(1) & 0x80 ? take(4) : take(1);
    if (kind & 0x40)
        offset = places[offset % ARRAY_SIZE(places)];
    bar_write(offset, size, value);
    (void)bar_read(offset % 0x3fff / size * size, size);
}

/* Messages go to local APICs with the vectors that test_send() expects. */
static inline void fuzz_table(void)
{
    const struct pci_bar *table = &pci.function.bars[2];
    uint32_t entry = take(1) % 4, kind = take(1);
    table->ops->write(table->device, NULL, 16 * entry, 4, 0xfee00000);
    table->ops->write(table->device, NULL, 16 * entry + 8, 4, 0x40 + kind % 3);
    table->ops->write(table->device, NULL, 16 * entry + 12, 4, kind >> 7);
}

/* The function stays a bus master, because otherwise the device does nothing. */
static inline void fuzz_config(void)
{
    uint32_t kind = take(1), offset = take(1);
    if (kind & 0x80) {
        config_write(pci.window + VIRTIO_PCI_CAP_BAR, 1, kind & 3);
        config_write(pci.window + VIRTIO_PCI_CAP_OFFSET, 4, take(2));
        config_write(pci.window + VIRTIO_PCI_CAP_LENGTH, 4, take(1) % 6);
        offset = pci.window + sizeof(struct virtio_pci_cap) + kind / 4 % 4;
    }
    config_write(offset, 1u << kind % 3, take(4));
    (void)config_read(offset & ~3u, 4);
    config_write(4, 2, config_read(4, 2) | 4);
}

static inline void fuzz_pci(void)
{
    uint32_t what = take(1) % 8;
    if (what == 0)
        fuzz_table();
    else if (what < 3)
        fuzz_config();
    else
        fuzz_bar();
}

/* Whether the device's line, or its INTA#, is to be asserted. */
static inline bool line_expected(void)
{
    bool by_line = !by_pci || (!pci_msix_enabled(&pci.function) && !(config_read(4, 2) & 0x400));
    return virtio->interrupts && by_line;
}
