/* SPDX-License-Identifier: MIT */
/*
 * The host bridge, and the two mechanisms by which a guest reaches the configuration spaces: the
 * ports 0xcf8 and 0xcfc (PCI Local Bus 3.0, section 3.2.2.3.2), and memory (PCI Express Base 5.0,
 * section 7.2.2). Both lead to the same accesses of up to 4 bytes within a doubleword. Pure.
 */
#include "dev/pci_internal.h"

#include "lib/assert.h"

/* The address register. */
#define ADDRESS_ENABLE   BIT(31)
#define ADDRESS_BUS      BITS(23, 16)
#define ADDRESS_FUNCTION BITS(15, 8)
#define ADDRESS_REGISTER BITS(7, 2)
#define ADDRESS_WRITABLE (ADDRESS_ENABLE | ADDRESS_BUS | ADDRESS_FUNCTION | ADDRESS_REGISTER)

#define RESET 1u /* offset of the reset register from the address register */

/* An address in memory, which is relative to bus 0. */
#define ECAM_FUNCTION BITS(19, 12)
#define ECAM_REGISTER BITS(11, 0)

/* It has no BAR, needs no interrupt, and is always a bus master: no bit of its command register can
 * be written. Drivers know it by its class. */
static void bridge_init(struct pci_function *bridge)
{
    static const struct pci_identity identity = {
        .vendor = 0x1b36, .device = 0x0008, .class_revision = 0x06000000};
    pci_function_init(bridge, "host bridge", &identity);
    memset(bridge->writable, 0, sizeof(bridge->writable));
    pci_set(bridge, PCI_COMMAND, 2, COMMAND_MASTER);
    pci_set(bridge, PCI_INTERRUPT_PIN, 1, 0);
}

void pci_host_init(struct pci_host *host, const struct pci_wiring *wiring)
{
    *host = (struct pci_host){.wiring = *wiring, .next = wiring->window};
    bridge_init(&host->bridge);
    BUG_ON(pci_add(host, &host->bridge, 0)); /* the bus is empty, and the bridge has no BAR */
}

/* ---- Accesses to the configuration spaces ---------------------------------------------------- */

/* The part of an access at `at` that lies in one doubleword. */
static unsigned part_size(uint64_t at, unsigned left)
{
    unsigned most = 4 - (unsigned)(at % 4);
    return left < most ? left : most;
}

static struct pci_function *function_at(const struct pci_host *host, uint64_t at)
{
    return host->functions[field_get(at, ECAM_FUNCTION)];
}

static uint64_t config_read(struct pci_host *host, struct mmio_vcpu *vcpu, uint64_t at,
                            unsigned size)
{
    uint64_t value = 0;
    for (unsigned done = 0, part; done < size; done += part) {
        part = part_size(at + done, size - done);
        struct pci_function *f = function_at(host, at + done);
        uint64_t word = BITS(8 * part - 1, 0);
        if (f)
            word = pci_function_read(f, vcpu, (at + done) & ECAM_REGISTER, part);
        value |= word << 8 * done;
    }
    return value;
}

static void config_write(struct pci_host *host, struct mmio_vcpu *vcpu, uint64_t at, unsigned size,
                         uint64_t value)
{
    for (unsigned done = 0, part; done < size; done += part) {
        part = part_size(at + done, size - done);
        struct pci_function *f = function_at(host, at + done);
        if (f)
            pci_function_write(f, vcpu, (at + done) & ECAM_REGISTER, part,
                               (uint32_t)(value >> 8 * done));
    }
}

static uint64_t ecam_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    return config_read(device, vcpu, offset, size);
}

static void ecam_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    config_write(device, vcpu, offset, size, value);
}

const struct bus_ops pci_ecam_ops = {.name = "ECAM", .read = ecam_read, .write = ecam_write};

/* ---- The ports ------------------------------------------------------------------------------- */

/* Only an access of the whole doubleword is one to the address register. Of the bytes in other
 * accesses, one is the reset register, and the others are unclaimed. */
static bool is_address(unsigned size, uint64_t offset)
{
    return size == 4 && offset == 0;
}

static bool is_reset(const struct pci_host *host, unsigned size, uint64_t offset)
{
    return host->wiring.reset && offset <= RESET && RESET < offset + size;
}

static uint64_t address_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct pci_host *host = device;
    const struct pci_wiring *w = &host->wiring;
    if (is_address(size, offset))
        return READ_ONCE(host->address);
    if (!is_reset(host, size, offset))
        return ~0ull;
    const uint64_t byte = BITS(7, 0) << 8 * (RESET - offset);
    return ~byte | field_put(w->reset->read(w->reset_device, vcpu, 0, 1), byte);
}

static void address_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                          uint64_t value)
{
    struct pci_host *host = device;
    const struct pci_wiring *w = &host->wiring;
    if (is_address(size, offset))
        WRITE_ONCE(host->address, value & ADDRESS_WRITABLE);
    else if (is_reset(host, size, offset))
        w->reset->write(w->reset_device, vcpu, 0, 1, value >> 8 * (RESET - offset) & 0xff);
}

const struct bus_ops pci_address_ops = {
    .name = "PCI address", .read = address_read, .write = address_write};

/* Sets *at to the place that the address register selects, in the form of an address in memory.
 * Returns false if it selects nothing: a bus other than 0 has no functions. */
static bool selected(const struct pci_host *host, uint64_t offset, uint64_t *at)
{
    const uint64_t address = READ_ONCE(host->address);
    *at = field_put(field_get(address, ADDRESS_FUNCTION), ECAM_FUNCTION) |
          (address & ADDRESS_REGISTER) | offset;
    return address & ADDRESS_ENABLE && !(address & ADDRESS_BUS);
}

static uint64_t data_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    uint64_t at;
    return selected(device, offset, &at) ? config_read(device, vcpu, at, size) : ~0ull;
}

static void data_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    uint64_t at;
    if (selected(device, offset, &at))
        config_write(device, vcpu, at, size, value);
}

const struct bus_ops pci_data_ops = {.name = "PCI data", .read = data_read, .write = data_write};
