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

/* A register of 16 bits that is read without the function's lock: a vCPU may be writing it. */
static inline uint16_t pci_peek(const struct pci_function *f, unsigned offset)
{
    uint8_t low = __atomic_load_n(&f->config[offset], __ATOMIC_RELAXED);
    uint8_t high = __atomic_load_n(&f->config[offset + 1], __ATOMIC_RELAXED);
    return (uint16_t)(low | high << 8);
}

/* Reads or writes up to 4 bytes of one doubleword of the function's configuration space, which may
 * lie in the extended space. */
uint32_t pci_function_read(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                           unsigned size);
void pci_function_write(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                        unsigned size, uint32_t value);

/* Sends the messages, and the level of INTA#, that a change of the configuration space or of the
 * table permits. Called with the function's lock held. */
void pci_interrupts_update(struct pci_function *f);
