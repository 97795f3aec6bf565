/* SPDX-License-Identifier: MIT */
/* Finds devices that can write into memory; see the header. Pure. */
#include "arch/x86/bus_masters.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

#define BUSES         256u
#define HEADER_KIND   BITS(22, 16)
#define HEADER_BRIDGE (1u << 16)
#define BRIDGE_BUSES  0x18u /* the register with the bus numbers; bits 23:16 are the last one */
#define CLASS_BRIDGE  6u
#define IN_A_LINE     4u

/* Base classes, and the subclasses that are worth a name of their own (PCI Code and ID 1.11). */
static const struct {
    uint16_t class, mask;
    const char *name;
} classes[] = {
    {0x0c03, 0xffff, "USB"},
    {0x0100, 0xff00, "storage"},
    {0x0200, 0xff00, "network"},
    {0x0300, 0xff00, "display"},
    {0x0400, 0xff00, "audio or video"},
    {0x0c00, 0xff00, "serial bus"},
    {0x0d00, 0xff00, "wireless"},
};

struct walk {
    struct bus_masters *found;
    unsigned last_bus;
};

static bool note_master(struct host_pci_function at, void *context)
{
    struct walk *walk = context;
    uint32_t class = host_pci_read(at, HOST_PCI_CLASS) >> 8;
    if ((host_pci_read(at, HOST_PCI_HEADER) & (uint32_t)HEADER_KIND) == HEADER_BRIDGE) {
        unsigned last = host_pci_read(at, BRIDGE_BUSES) >> 16 & 0xff;
        if (last > walk->last_bus)
            walk->last_bus = last;
        return false;
    }
    if (class >> 16 == CLASS_BRIDGE ||
        !(host_pci_read(at, HOST_PCI_COMMAND) & HOST_PCI_COMMAND_MASTER))
        return false;
    if (walk->found->count < BUS_MASTERS_NAMED)
        walk->found->named[walk->found->count] =
            (struct bus_master){at, host_pci_read(at, HOST_PCI_ID), class};
    walk->found->count++;
    return false;
}

void bus_masters_find(bool all_buses, struct bus_masters *found)
{
    struct walk walk = {.found = found};
    unsigned buses = all_buses ? BUSES : 1, walked;
    do {
        walked = buses;
        memset(found, 0, sizeof(*found));
        (void)host_pci_walk_buses(walked, note_master, &walk);
        if (walk.last_bus >= buses)
            buses = walk.last_bus + 1;
    } while (buses > walked);
}

static const char *class_name(uint32_t class)
{
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
        if ((class >> 8 & classes[i].mask) == classes[i].class)
            return classes[i].name;
    return "other";
}

void bus_masters_log(const struct bus_masters *found)
{
    char line[200], name[HOST_PCI_NAME_MAX];
    int used = 0;
    if (!found->count)
        return;
    log_info("risk: devices that the firmware has left active can write into memory, the "
             "hypervisor's included: %u with bit 2 (bus master) of the PCI command set; nothing "
             "here uses them or holds them back:",
             found->count);
    for (unsigned i = 0; i < found->count && i < BUS_MASTERS_NAMED; i++) {
        const struct bus_master *master = &found->named[i];
        used += snprintf(line + used, sizeof(line) - (size_t)used, "%s%s %04x:%04x %s",
                         used ? ", " : "  ", host_pci_name(master->at, name), master->id & 0xffff,
                         master->id >> 16, class_name(master->class));
        bool last = i + 1 == found->count || i + 1 == BUS_MASTERS_NAMED;
        if (!last && (i + 1) % IN_A_LINE)
            continue;
        log_info("%s%s", line, last && found->count > i + 1 ? ", ..." : "");
        used = 0;
    }
}
