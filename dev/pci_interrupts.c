/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a function: MSI-X (PCI Local Bus 3.0, section 6.8.2) and INTA# (section 2.2.6). A
 * vector that is raised becomes pending, and a pending vector is sent as soon as nothing prevents
 * this. So after each change of a register that can prevent messages, all pending vectors are
 * checked. Pure.
 */
#include "dev/pci_internal.h"

#include "lib/assert.h"
#include "lib/log.h"

/* ---- MSI-X ----------------------------------------------------------------------------------- */

/* The address and the data of a message for local APICs (SDM 3, section 11.11). */
#define MESSAGE_APICS       BITS(63, 20)
#define MESSAGE_APICS_VALUE 0xfee00000ull
#define MESSAGE_DESTINATION BITS(19, 12)
#define MESSAGE_HINT        BIT(3)
#define MESSAGE_LOGICAL     BIT(2)
#define MESSAGE_VECTOR      BITS(7, 0)
#define MESSAGE_MODE        BITS(10, 8)
#define MESSAGE_ASSERT      BIT(14)
#define MESSAGE_LEVEL       BIT(15)
#define BROADCAST           0xffu

bool pci_is_master(const struct pci_function *f)
{
    return pci_peek(f, PCI_COMMAND) & COMMAND_MASTER;
}

bool pci_msix_enabled(const struct pci_function *f)
{
    return f->msix && pci_peek(f, f->msix + MSIX_CONTROL) & MSIX_ENABLE;
}

/* Whether nothing prevents the message of a vector. It is a write to memory, which only a bus
 * master makes. */
static bool vector_is_open(const struct pci_function *f, unsigned vector)
{
    const uint16_t on = MSIX_ENABLE, both = MSIX_ENABLE | MSIX_FUNCTION_MASK;
    return (pci_peek(f, f->msix + MSIX_CONTROL) & both) == on && pci_is_master(f) &&
           !(__atomic_load_n(&f->entries[vector].control, __ATOMIC_RELAXED) & MSIX_MASKED);
}

/* Sets *message to the message of an entry, and *level to whether it is level-triggered. Returns
 * false if it reaches no local APIC. The destination is logical only with the redirection hint. */
static bool decode_message(uint64_t address, uint32_t data, struct lapic_message *message,
                           bool *level)
{
    uint32_t destination = (uint32_t)field_get(address, MESSAGE_DESTINATION);
    bool logical = address & MESSAGE_HINT && address & MESSAGE_LOGICAL;
    *message = (struct lapic_message){.mode = (uint8_t)field_get(data, MESSAGE_MODE),
                                      .vector = (uint8_t)field_get(data, MESSAGE_VECTOR),
                                      .logical = logical,
                                      .all = !logical && destination == BROADCAST,
                                      .destination = destination};
    *level = data & MESSAGE_LEVEL;
    return (address & MESSAGE_APICS) == MESSAGE_APICS_VALUE &&
           (message->mode == LAPIC_FIXED || message->mode == LAPIC_LOWEST ||
            message->mode == LAPIC_NMI) &&
           (!*level || data & MESSAGE_ASSERT);
}

static void send_vector(struct pci_function *f, unsigned vector)
{
    const struct pci_msix_entry *entry = &f->entries[vector];
    struct lapic_message message;
    bool level;
    if (decode_message(entry->address, entry->data, &message, &level)) {
        (void)f->host->wiring.send(f->host->wiring.context, &message, level);
    } else if (!f->warned) {
        f->warned = true;
        log_error("pci 0:%x.%u (%s): vector %u sends 0x%x to 0x%lx, which is no interrupt message; "
                  "it is dropped",
                  f->devfn / PCI_FUNCTIONS, f->devfn % PCI_FUNCTIONS, f->name, vector, entry->data,
                  entry->address);
    }
}

bool pci_msix_message(const struct pci_function *f, unsigned vector, struct lapic_message *message)
{
    bool level;
    return vector < f->vectors && vector_is_open(f, vector) &&
           decode_message(__atomic_load_n(&f->entries[vector].address, __ATOMIC_RELAXED),
                          __atomic_load_n(&f->entries[vector].data, __ATOMIC_RELAXED), message,
                          &level);
}

void pci_msix_raise(struct pci_function *f, unsigned vector)
{
    if (vector >= f->vectors)
        return;
    spin_lock(&f->lock);
    f->pending |= 1u << vector;
    pci_interrupts_update(f);
    spin_unlock(&f->lock);
}

/* ---- The table and the PBA ------------------------------------------------------------------- */

/* The bits of each doubleword of an entry that can be written. */
static const uint32_t entry_writable[] = {~3u, ~0u, ~0u, MSIX_MASKED};

static uint32_t *table_word(struct pci_function *f, uint64_t offset)
{
    const uint64_t entry = offset / sizeof(struct pci_msix_entry);
    return entry < f->vectors ? (uint32_t *)f->entries + offset / 4 : NULL;
}

static uint64_t table_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct pci_function *f = device;
    uint64_t value = 0;
    (void)vcpu;
    spin_lock(&f->lock);
    for (unsigned i = 0; i < size; i += 4) {
        const uint32_t *word = table_word(f, offset + i);
        if (word)
            value |= (uint64_t)*word << 8 * i;
        else if (offset + i == PCI_MSIX_PBA)
            value |= f->pending;
    }
    spin_unlock(&f->lock);
    return value;
}

static void table_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    struct pci_function *f = device;
    (void)vcpu;
    spin_lock(&f->lock);
    for (unsigned i = 0; i < size; i += 4) {
        uint32_t *word = table_word(f, offset + i);
        uint32_t writable = entry_writable[(offset + i) / 4 % 4];
        if (word)
            __atomic_store_n(word, (uint32_t)(value >> 8 * i) & writable, __ATOMIC_RELAXED);
    }
    pci_interrupts_update(f);
    spin_unlock(&f->lock);
}

static const struct bus_ops table_ops = {
    .name = "MSI-X", .read = table_read, .write = table_write, .sizes = 4 | 8, .refuse = true};

void pci_add_msix(struct pci_function *f, unsigned bar, unsigned vectors)
{
    struct {
        uint16_t control;
        uint32_t table, pba;
    } __attribute__((packed)) body = {(uint16_t)(vectors - 1), bar, PCI_MSIX_PBA | bar};
    BUG_ON(f->msix || !vectors || vectors > PCI_VECTORS);
    pci_add_bar(f, bar, PCI_BAR_32, PCI_MSIX_SIZE, &table_ops, f);
    f->msix = pci_add_capability(f, PCI_CAP_MSIX, &body, sizeof(body));
    f->vectors = vectors;
    f->writable[f->msix + MSIX_CONTROL + 1] = (MSIX_ENABLE | MSIX_FUNCTION_MASK) >> 8;
}

/* ---- INTA# ----------------------------------------------------------------------------------- */

/* Several functions may share a line, which is asserted as long as one of them asserts it. */
static void set_line(struct pci_function *f, bool level)
{
    struct pci_host *host = f->host;
    struct line line = host->wiring.line;
    const unsigned n = pci_line(f->devfn), device = f->devfn / PCI_FUNCTIONS;
    const uint32_t bit = 1u << (device / PCI_LINES * PCI_FUNCTIONS + f->devfn % PCI_FUNCTIONS);
    line.number += n;
    spin_lock(&host->lines_lock);
    host->lines[n] = level ? host->lines[n] | bit : host->lines[n] & ~bit;
    line_set(&line, host->lines[n]);
    spin_unlock(&host->lines_lock);
}

void pci_intx(struct pci_function *f, bool level)
{
    spin_lock(&f->lock);
    f->intx = level;
    f->config[PCI_STATUS] &= (uint8_t)~STATUS_INTERRUPT;
    if (level)
        f->config[PCI_STATUS] |= STATUS_INTERRUPT;
    pci_interrupts_update(f);
    spin_unlock(&f->lock);
}

void pci_master_abort(struct pci_function *f)
{
    spin_lock(&f->lock);
    f->config[PCI_STATUS + 1] |= STATUS_MASTER_ABORT >> 8;
    spin_unlock(&f->lock);
}

void pci_interrupts_update(struct pci_function *f)
{
    for (uint32_t left = f->pending; left; left &= left - 1) {
        unsigned vector = (unsigned)__builtin_ctz(left);
        if (!vector_is_open(f, vector))
            continue;
        f->pending &= ~(1u << vector);
        send_vector(f, vector);
    }
    bool asserted =
        f->intx && !(pci_peek(f, PCI_COMMAND) & COMMAND_NO_INTX) && !pci_msix_enabled(f);
    if (asserted == f->asserted)
        return;
    f->asserted = asserted;
    set_line(f, asserted);
}
