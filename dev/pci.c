/* SPDX-License-Identifier: MIT */
/*
 * The configuration space of a function: its description by the owner, and the guest's accesses.
 * Each byte knows which of its bits the guest can write, and which it clears by writing ones; what
 * follows from a write is computed anew from the contents. Pure.
 */
#include "dev/pci_internal.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"

/* ---- Describing a function ------------------------------------------------------------------- */

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

/* The bits of a BAR that select a place can be written, which tells the guest the size. */
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

/* A BAR of which a guest has set a half to ones, to learn its size, is not an error. */
static void complain(struct pci_function *f, unsigned bar, uint64_t address)
{
    const struct pci_wiring *w = &f->host->wiring;
    bool sizing = !~(uint32_t)(address | (f->bars[bar].size - 1)) || !~(uint32_t)(address >> 32);
    if (f->complained || sizing)
        return;
    f->complained = true;
    log_error(
        "pci 0:%x.%u (%s): BAR %u is at 0x%lx, but the host bridge forwards 0x%lx-0x%lx only, "
        "so that nobody answers there",
        f->devfn / PCI_FUNCTIONS, f->devfn % PCI_FUNCTIONS, f->name, bar, address, w->window,
        w->window + w->size - 1);
}

/* Where a BAR is to be decoded: a BAR that begins in the window may not end beyond it. */
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

/* The priorities of BARs are below those of all other regions. */
_Static_assert(PCI_REGIONS + 16 <= BUS_REGIONS, "room for the devices that are not on PCI");
void pci_decode(struct pci_function *f)
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
        f->complained = true; /* the bus is full, and has said so: PCI_REGIONS is too large */
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
    pci_decode(f);
    spin_unlock(&f->host->lock);
}
