/* SPDX-License-Identifier: MIT */
/*
 * A PCI bus with three functions on an MMIO bus that has RAM's place, the APICs and the ECAM as its
 * other regions, and a model of what the guest sees. The model knows the registers one by one, as
 * the specifications list them, and looks a BAR up by trying all functions in order; it keeps no
 * table of writable bits, and no bus. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "dev/pci.h"
#include "lib/bits.h"
#include "mmu/tlb.h"

#include <string.h>

#define ECAM        0xe0000000ull
#define WINDOW      0xe0100000ull
#define WINDOW_SIZE 0x1bf00000ull
#define LINE        16u

static struct bus bus;
static struct pci_host host;

void tlb_wait_epoch(const void *owner)
{
    (void)owner;
}

/* ---- The functions --------------------------------------------------------------------------- */

/* Two functions of one device, and a device whose INTA# has the same line. */
static const struct shape {
    unsigned devfn, vectors, msix; /* the BAR with the table */
    struct {
        enum pci_bar_kind kind;
        uint64_t size;
    } bars[PCI_BARS];
} shapes[] = {
    {PCI_DEVFN(1, 0), 4, 1, {{PCI_BAR_32, 0x1000}, {0, 0}, {PCI_BAR_64, 0x4000}}},
    {PCI_DEVFN(1, 5), 0, 0, {{PCI_BAR_32, 0x2000}, [5] = {PCI_BAR_32, 16}}},
    {PCI_DEVFN(9, 0), PCI_VECTORS, 5, {{PCI_BAR_64, 0x100000}, {0, 0}, {PCI_BAR_64, 0x1000}}},
};
#define FUNCTIONS ARRAY_SIZE(shapes)

static struct pci_function functions[FUNCTIONS];

/* The device of a BAR: a read returns its number and the offset. */
struct probe {
    unsigned number; /* of the function, times PCI_BARS, and of the BAR */
};
static struct probe probes[FUNCTIONS * PCI_BARS];

static uint64_t probe_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct probe *p = device;
    (void)vcpu;
    assert_int_equal(size, 8);
    return (uint64_t)(p->number + 1) << 32 | offset;
}

static void probe_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    (void)device, (void)vcpu, (void)offset, (void)size, (void)value;
}

static const struct bus_ops probe_ops = {.name = "probe", .read = probe_read, .write = probe_write};

static uint64_t others_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)device, (void)vcpu, (void)offset, (void)size;
    return 0x07e25;
}

static const struct bus_ops others_ops = {
    .name = "others", .read = others_read, .write = probe_write};

static uint8_t reset_register;

static uint64_t reset_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    assert_ptr_equal(device, &reset_register);
    assert_int_equal(offset, 0);
    assert_int_equal(size, 1);
    (void)vcpu;
    return reset_register;
}

static void reset_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    (void)reset_read(device, vcpu, offset, size);
    assert_true(value <= 0xff);
    reset_register = (uint8_t)value;
}

static const struct bus_ops reset_ops = {.name = "reset", .read = reset_read, .write = reset_write};

/* ---- What arrives ---------------------------------------------------------------------------- */

static struct lapic_message last_message;
static bool last_level;
static unsigned sends;
static bool lines[PCI_LINES];

static bool receive(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, &host);
    last_message = *message;
    last_level = level;
    sends++;
    return true;
}

static void receive_line(void *context, unsigned number, bool level)
{
    assert_ptr_equal(context, &host);
    assert_true(number >= LINE && number < LINE + PCI_LINES);
    lines[number - LINE] = level;
}

/* ---- The model ------------------------------------------------------------------------------- */

struct model {
    uint16_t command;
    bool abort, level;
    uint8_t cache_line, interrupt_line;
    uint64_t bar[PCI_BARS]; /* of a 64-bit BAR, all of it */
    bool msix_on, msix_masked;
    struct {
        uint64_t address;
        uint32_t data;
        bool masked;
    } vectors[PCI_VECTORS];
    uint32_t pending;
};
static struct model models[FUNCTIONS];
static uint32_t model_address; /* the register at 0xcf8 */
static unsigned model_sends;

static unsigned bar_kind(unsigned f, unsigned bar)
{
    return shapes[f].vectors && bar == shapes[f].msix ? PCI_BAR_32 : shapes[f].bars[bar].kind;
}

static inline uint64_t bar_size(unsigned f, unsigned bar)
{
    return shapes[f].vectors && bar == shapes[f].msix ? 0x1000 : shapes[f].bars[bar].size;
}

static inline uint32_t model_bar(unsigned f, unsigned bar)
{
    if (bar_kind(f, bar) == PCI_BAR_64)
        return (uint32_t)models[f].bar[bar] | 4;
    if (bar && bar_kind(f, bar - 1) == PCI_BAR_64)
        return (uint32_t)(models[f].bar[bar - 1] >> 32);
    return (uint32_t)models[f].bar[bar];
}

/* A doubleword of the configuration space. */
static inline uint32_t model_config(unsigned f, unsigned at)
{
    const struct model *m = &models[f];
    const uint32_t vectors = shapes[f].vectors, bir = shapes[f].msix;
    switch (at) {
    case 0x00:
        return (0x100 + f) << 16 | 0xabcd;
    case 0x04:
        return m->command | (uint32_t)m->level << 19 | (vectors ? 1u << 20 : 0) |
               (uint32_t)m->abort << 29;
    case 0x08:
        return 0xff000000 + f;
    case 0x0c:
        return m->cache_line | (f == 2 ? 0 : 0x800000);
    case 0x10 ... 0x24:
        return model_bar(f, (at - 0x10) / 4);
    case 0x2c:
        return (0x300 + f) << 16 | 0xdcba;
    case 0x34:
        return vectors ? 0x40 : 0;
    case 0x3c:
        return m->interrupt_line | 0x100;
    }
    if (vectors && at == 0x40)
        return 0x11 | (vectors - 1) << 16 | (uint32_t)m->msix_masked << 30 |
               (uint32_t)m->msix_on << 31;
    if (vectors && at == 0x44)
        return bir;
    if (vectors && at == 0x48)
        return 0x800 | bir;
    return 0;
}

static inline void model_send(unsigned f)
{
    struct model *m = &models[f];
    for (unsigned i = 0; i < shapes[f].vectors; i++) {
        if (!(m->pending >> i & 1) || !m->msix_on || m->msix_masked || m->vectors[i].masked ||
            !(m->command & 4))
            continue;
        m->pending &= ~(1u << i);
        uint32_t data = m->vectors[i].data, mode = data >> 8 & 7;
        bool known = mode == 0 || mode == 1 || mode == 4, up = !(data >> 15 & 1) || data >> 14 & 1;
        model_sends += m->vectors[i].address >> 20 == 0xfee && known && up;
    }
}

static inline void model_write_bar(unsigned f, unsigned bar, unsigned shift, uint8_t byte)
{
    if (bar && bar_kind(f, bar - 1) == PCI_BAR_64)
        return model_write_bar(f, bar - 1, shift + 32, byte);
    uint64_t *value = &models[f].bar[bar];
    if (bar_kind(f, bar) == PCI_BAR_NONE)
        return;
    *value = (*value & ~(0xffull << shift)) | (uint64_t)byte << shift;
    *value -= *value % bar_size(f, bar);
}

static inline void model_write(unsigned f, unsigned at, uint8_t byte)
{
    struct model *m = &models[f];
    if (at == 0x04)
        m->command = (uint16_t)((m->command & 0xff00) | (byte & 0x46));
    else if (at == 0x05)
        m->command = (uint16_t)((m->command & 0xff) | (byte & 5) << 8);
    else if (at == 0x07)
        m->abort &= !(byte & 0x20);
    else if (at == 0x0c)
        m->cache_line = byte;
    else if (at >= 0x10 && at < 0x28)
        model_write_bar(f, (at - 0x10) / 4, at % 4 * 8, byte);
    else if (at == 0x3c)
        m->interrupt_line = byte;
    else if (at == 0x43 && shapes[f].vectors) {
        m->msix_on = byte & 0x80;
        m->msix_masked = byte & 0x40;
    }
}

/* The index of the function with this number, or -1. */
static inline int function_of(unsigned devfn)
{
    for (unsigned f = 0; f < FUNCTIONS; f++)
        if (shapes[f].devfn == devfn)
            return (int)f;
    return -1;
}

/* Who answers a read of 8 bytes at an aligned address. */
static inline uint64_t model_read(uint64_t address)
{
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        for (unsigned bar = 0; bar < PCI_BARS; bar++) {
            const uint64_t start = models[f].bar[bar], size = bar_size(f, bar);
            if (!bar_kind(f, bar) || !(models[f].command & 2) || start < WINDOW ||
                start >= WINDOW + WINDOW_SIZE || address < start || address >= start + size)
                continue;
            const uint64_t at = address - start;
            if (!shapes[f].vectors || bar != shapes[f].msix)
                return (uint64_t)(f * PCI_BARS + bar + 1) << 32 | at;
            if (at == 0x800)
                return models[f].pending;
            if (at / 16 >= shapes[f].vectors)
                return 0;
            return at % 16 ? models[f].vectors[at / 16].data |
                                 (uint64_t)models[f].vectors[at / 16].masked << 32
                           : models[f].vectors[at / 16].address;
        }
    }
    return ~0ull;
}

static inline void model_write_table(unsigned f, unsigned at, uint32_t value)
{
    struct model *m = &models[f];
    unsigned i = at / 16;
    if (i >= shapes[f].vectors)
        return;
    if (at % 16 == 0)
        m->vectors[i].address = (m->vectors[i].address & ~0xffffffffull) | (value & ~3u);
    else if (at % 16 == 4)
        m->vectors[i].address = (uint32_t)m->vectors[i].address | (uint64_t)value << 32;
    else if (at % 16 == 8)
        m->vectors[i].data = value;
    else
        m->vectors[i].masked = value & 1;
}

static inline bool model_line(unsigned line)
{
    bool level = false;
    for (unsigned f = 0; f < FUNCTIONS; f++)
        level |= shapes[f].devfn / 8 % 8 == line && models[f].level &&
                 !(models[f].command & 0x400) && !models[f].msix_on;
    return level;
}

/* ---- The world ------------------------------------------------------------------------------- */

static void add_function(unsigned n)
{
    const struct shape *s = &shapes[n];
    struct pci_function *f = &functions[n];
    const struct pci_identity identity = {.vendor = 0xabcd,
                                          .device = (uint16_t)(0x100 + n),
                                          .class_revision = 0xff000000 + n,
                                          .subvendor = 0xdcba,
                                          .subdevice = (uint16_t)(0x300 + n)};
    pci_function_init(f, "probe", &identity);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct probe *p = &probes[n * PCI_BARS + bar];
        p->number = n * PCI_BARS + bar;
        if (s->bars[bar].kind)
            pci_add_bar(f, bar, s->bars[bar].kind, s->bars[bar].size, &probe_ops, p);
    }
    if (s->vectors)
        pci_add_msix(f, s->msix, s->vectors);
    assert_int_equal(pci_add(&host, f, s->devfn), 0);
    models[n] = (struct model){.interrupt_line = (uint8_t)(LINE + s->devfn / 8 % 8)};
    for (unsigned i = 0; i < s->vectors; i++)
        models[n].vectors[i].masked = true;
    for (unsigned bar = 0; bar < PCI_BARS; bar++)
        if (bar_kind(n, bar))
            models[n].bar[bar] = pci_config_read(f, 0x10 + 4 * bar, 4) & ~0xfu;
}

static void world_init(uint64_t shared)
{
    const struct pci_wiring wiring = {.bus = &bus,
                                      .shared = shared,
                                      .window = WINDOW,
                                      .size = WINDOW_SIZE,
                                      .send = receive,
                                      .context = &host,
                                      .line = {receive_line, &host, LINE},
                                      .reset = &reset_ops,
                                      .reset_device = &reset_register};
    support_reset();
    bus_init(&bus, "mmio", ~0ull);
    pci_host_init(&host, &wiring);
    assert_int_equal(bus_add(&bus, ECAM | shared, PCI_ECAM_SIZE, &pci_ecam_ops, &host), 0);
    assert_int_equal(bus_add(&bus, 0xfec00000, 0x1000, &others_ops, NULL), 0);
    assert_int_equal(bus_add(&bus, 0xfee00000, 0x1000, &others_ops, NULL), 0);
    memset(lines, 0, sizeof(lines));
    sends = model_sends = model_address = reset_register = 0;
    for (unsigned n = 0; n < FUNCTIONS; n++)
        add_function(n);
}

/* Everything that the guest can read of the functions is as the model says. */
static inline void world_check(void)
{
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4)
            if (pci_config_read(&functions[f], at, 4) != model_config(f, at))
                fail_msg("function %u, offset %#x: %#x, expected %#x", f, at,
                         pci_config_read(&functions[f], at, 4), model_config(f, at));
        assert_int_equal(functions[f].pending, models[f].pending);
        assert_int_equal(functions[f].lock.taken, 0);
    }
    assert_int_equal(sends, model_sends);
    for (unsigned i = 0; i < PCI_LINES; i++)
        assert_int_equal(lines[i], model_line(i));
    assert_int_equal(host.lock.taken | host.lines_lock.taken | bus.lock.taken, 0);
}

static inline void world_check_address(uint64_t address)
{
    const uint64_t got = bus_read(&bus, NULL, address, 8), want = model_read(address);
    if (got != want)
        fail_msg("address %#lx: %#lx, expected %#lx", address, got, want);
}

/* ---- A driver -------------------------------------------------------------------------------- */

#define AT(function, offset) ((uint64_t)shapes[function].devfn << 12 | (offset))
#define COMMAND              0x04u
#define MEMORY               2u
#define MASTER               4u
#define NO_INTX              0x400u

static inline int setup(void **state)
{
    (void)state;
    world_init(0);
    return 0;
}

static inline uint64_t config(uint64_t at, unsigned size)
{
    return pci_ecam_ops.read(&host, NULL, at, size);
}

static inline void set_config(uint64_t at, unsigned size, uint64_t value)
{
    pci_ecam_ops.write(&host, NULL, at, size, value);
}

/* Enables memory space and bus master. */
static inline void enable(unsigned f)
{
    set_config(AT(f, COMMAND), 2, MEMORY | MASTER);
    models[f].command = MEMORY | MASTER;
}
