/* SPDX-License-Identifier: MIT */
/*
 * A function on the bus: the guest's accesses to its configuration space, and the places of its
 * BARs. The effects of a write to the configuration space are computed anew from its contents.
 * Pure.
 */
#include "dev/pci_internal.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"

/* ---- On the bus ------------------------------------------------------------------------------ */

/* Gives each BAR the next place in the window. */
static int place_bars(struct pci_host *host, struct pci_function *f)
{
    const uint64_t end = host->wiring.window + host->wiring.size;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &f->bars[i];
        if (!bar->kind)
            continue;
        uint64_t at = align_up(host->next, bar->size);
        if (at + bar->size > end || host->regions == PCI_REGIONS) {
            log_error("pci: no room for BAR %u of %s, of 0x%lx bytes, in the window that ends at "
                      "0x%lx and holds up to %u BARs; give the VM fewer devices",
                      i, f->name, bar->size, end, PCI_REGIONS);
            return -ENOSPC;
        }
        host->regions++;
        pci_set(f, PCI_BAR_0 + 4 * i, 4, pci_get(f, PCI_BAR_0 + 4 * i, 4) | (uint32_t)at);
        host->next = at + bar->size;
    }
    return 0;
}

int pci_add(struct pci_host *host, struct pci_function *f, unsigned devfn)
{
    BUG_ON(devfn >= PCI_DEVICES * PCI_FUNCTIONS);
    if (host->functions[devfn]) {
        log_error("pci: %s and %s both want to be function %u of device %u", f->name,
                  host->functions[devfn]->name, devfn % PCI_FUNCTIONS, devfn / PCI_FUNCTIONS);
        return -EEXIST;
    }
    int error = place_bars(host, f);
    if (error)
        return error;
    f->host = host;
    f->devfn = (uint8_t)devfn;
    if (pci_get(f, PCI_INTERRUPT_PIN, 1))
        pci_set(f, PCI_INTERRUPT_LINE, 1, host->wiring.line.number + pci_line(devfn));
    host->functions[devfn] = f;
    if (devfn % PCI_FUNCTIONS) {
        struct pci_function *first = host->functions[devfn - devfn % PCI_FUNCTIONS];
        BUG_ON(!first); /* without a function 0, a guest looks for no other one */
        f->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
        first->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
    }
    return 0;
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static uint64_t bar_address(const struct pci_function *f, unsigned bar)
{
    const unsigned at = PCI_BAR_0 + 4 * bar;
    uint64_t high = f->bars[bar].kind == PCI_BAR_64 ? pci_get(f, at + 4, 4) : 0;
    return high << 32 | (pci_get(f, at, 4) & ~0xfu);
}

/* Logs once that a BAR is outside of the window. It is no error if the guest has written ones into
 * a half of the BAR, to learn its size. */
static void complain(struct pci_function *f, unsigned bar, uint64_t address)
{
    const struct pci_wiring *w = &f->host->wiring;
    bool sizing = !~(uint32_t)(address | (f->bars[bar].size - 1)) || !~(uint32_t)(address >> 32);
    if (f->complained || sizing)
        return;
    f->complained = true;
    log_error(
        "pci 0:%x.%u (%s): BAR %u is at 0x%lx, but the host bridge forwards 0x%lx-0x%lx only, "
        "so it is not decoded",
        f->devfn / PCI_FUNCTIONS, f->devfn % PCI_FUNCTIONS, f->name, bar, address, w->window,
        w->window + w->size - 1);
}

/* Returns the address at which a BAR is to be decoded. A BAR that begins in the window must not end
 * beyond it. */
static uint64_t bar_place(struct pci_function *f, unsigned bar)
{
    const struct pci_wiring *w = &f->host->wiring;
    uint64_t size = f->bars[bar].size, address = bar_address(f, bar);
    if (!(pci_peek(f, PCI_COMMAND) & COMMAND_MEMORY))
        return BUS_NOWHERE;
    if (address >= w->window && size <= w->size && address - w->window <= w->size - size)
        return address | w->shared;
    complain(f, bar, address);
    return BUS_NOWHERE;
}

/* Puts the BARs where the configuration space says now. Called with the host's lock held. Their
 * priorities are below those of all other regions. */
_Static_assert(PCI_REGIONS + 16 <= BUS_REGIONS, "room for the devices that are not on PCI");
static void decode(struct pci_function *f)
{
    struct bus_place places[PCI_BARS];
    unsigned count = 0;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &f->bars[i];
        uint64_t at = bar->kind ? bar_place(f, i) : bar->decoded;
        if (at == bar->decoded)
            continue;
        bar->decoded = at;
        places[count++] = (struct bus_place){.priority = -1 - (int)(f->devfn * PCI_BARS + i),
                                             .start = at,
                                             .size = bar->size,
                                             .ops = bar->ops,
                                             .device = bar->device};
    }
    if (count && bus_move(f->host->wiring.bus, places, count))
        f->complained = true; /* the bus is full, and has logged that: PCI_REGIONS is too large */
}

/* ---- Accesses -------------------------------------------------------------------------------- */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    BUG_ON(size > 4 || offset + size > PCI_CONFIG_SIZE);
    spin_lock(&f->lock);
    uint32_t value = pci_get(f, offset, size);
    spin_unlock(&f->lock);
    return value;
}

static bool in_window(const struct pci_function *f, unsigned offset)
{
    return f->window && (offset & ~3u) == f->window;
}

/* The extended space is there, and empty: its first word says that there is no capability. */
uint32_t pci_function_read(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                           unsigned size)
{
    if (in_window(f, offset))
        return (uint32_t)f->window_ops->read(f->window_device, vcpu, offset % 4, size);
    return offset < PCI_CONFIG_SIZE ? pci_config_read(f, offset, size) : 0;
}

void pci_function_write(struct pci_function *f, struct mmio_vcpu *vcpu, unsigned offset,
                        unsigned size, uint32_t value)
{
    if (in_window(f, offset)) {
        f->window_ops->write(f->window_device, vcpu, offset % 4, size, value);
        return;
    }
    if (offset >= PCI_CONFIG_SIZE)
        return;
    spin_lock(&f->host->lock);
    spin_lock(&f->lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), writable = f->writable[offset + i];
        uint8_t kept = f->config[offset + i] & ~writable & ~(byte & f->clears[offset + i]);
        __atomic_store_n(&f->config[offset + i], kept | (byte & writable), __ATOMIC_RELAXED);
    }
    pci_interrupts_update(f);
    spin_unlock(&f->lock);
    decode(f);
    spin_unlock(&f->host->lock);
}
