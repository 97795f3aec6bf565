/* SPDX-License-Identifier: MIT */
/* What the files of the PCI host share. Private to dev/pci*.c. */
#pragma once

#include "dev/pci.h"
#include "dev/pci_config.h"

#include "lib/string.h"

static inline uint32_t pci_get(const struct pci_function *f, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    memcpy(&value, &f->config[offset], size);
    return value;
}

static inline void pci_set(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    memcpy(&f->config[offset], &value, size);
}

/* The command register, which the guest may be changing. */
static inline uint16_t pci_command(const struct pci_function *f)
{
    return (uint16_t)(READ_ONCE(f->config[PCI_COMMAND]) | READ_ONCE(f->config[PCI_COMMAND + 1])
                                                              << 8);
}

/* Reads or writes up to 4 bytes of one doubleword of the function's configuration space, which may
 * lie in the extended space. */
uint32_t pci_function_read(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                           unsigned size);
void pci_function_write(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                        unsigned size, uint32_t value);

/* Puts the BARs of a function where its configuration space says now. Called with the host's lock
 * held. */
void pci_decode(struct pci_function *f);

/* Sends the messages, and the level of INTA#, that a change of the configuration space or of the
 * table permits. Called with the function's lock held. */
void pci_interrupts_update(struct pci_function *f);
