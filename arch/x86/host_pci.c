/* SPDX-License-Identifier: MIT */
/* Configuration accesses and the walk of the machine's PCI functions; see the header. Pure. */
#include "arch/x86/host_pci.h"

#include "lib/bits.h"
#include "lib/string.h"

#define ADDRESS_ENABLE     BIT(31)
#define BUSES              256u
#define DEVICES            32u
#define FUNCTIONS          8u
#define HEADER_KIND        BITS(22, 16)
#define HEADER_MULTI       BIT(23)
#define HEADER_BRIDGE      (1u << 16)
#define BARS_OF_DEVICE     6u
#define BARS_OF_BRIDGE     2u
#define BAR_IO             BIT(0)
#define BAR_IO_ADDRESS     BITS(31, 2)
#define BAR_MEMORY_TYPE    BITS(2, 1)
#define BAR_MEMORY_64      BIT(2)
#define BAR_BELOW_1M       BIT(1)
#define BAR_MEMORY_ADDRESS BITS(31, 4)
#define PORTS_MAX          0xffffu
#define COMMAND_DECODES    (HOST_PCI_COMMAND_IO | HOST_PCI_COMMAND_MEMORY)
#define COMMAND_HALF       BITS(15, 0) /* a 0 in the status changes nothing */

#define AREAS         16u
#define FUNCTION_SIZE 0x1000u

static struct host_pci_area areas[AREAS];
static unsigned area_count;

/* ---- Areas of memory ------------------------------------------------------------------------- */

static const struct host_pci_area *find_area(uint16_t segment, unsigned first, unsigned last)
{
    for (unsigned i = 0; i < area_count; i++)
        if (areas[i].segment == segment && areas[i].first_bus <= last && areas[i].last_bus >= first)
            return &areas[i];
    return NULL;
}

const char *host_pci_area_problem(const struct host_pci_area *area)
{
    if (area_count == AREAS)
        return "there are 16 others";
    return find_area(area->segment, area->first_bus, area->last_bus)
               ? "another entry has some of these buses"
               : NULL;
}

void host_pci_add_area(const struct host_pci_area *area)
{
    areas[area_count++] = *area;
}

void host_pci_forget_areas(void)
{
    area_count = 0;
}

static volatile uint32_t *area_register(const struct host_pci_area *area,
                                        struct host_pci_function at, unsigned offset)
{
    uint64_t place = (at.bus - area->first_bus) * HOST_PCI_BUS_SIZE +
                     (at.device % DEVICES * FUNCTIONS + at.function % FUNCTIONS) * FUNCTION_SIZE +
                     (offset & 0xfcu);
    return (volatile uint32_t *)((volatile char *)area->registers + place);
}

/* ---- Accesses -------------------------------------------------------------------------------- */

static uint32_t config_address(struct host_pci_function at, unsigned offset)
{
    return (uint32_t)ADDRESS_ENABLE | (uint32_t)at.bus << 16 |
           (uint32_t)(at.device % DEVICES) << 11 | (uint32_t)(at.function % FUNCTIONS) << 8 |
           (offset & 0xfcu);
}

/* `area` is that of the function's bus; NULL: it is in none. */
static uint32_t read_in(const struct host_pci_area *area, struct host_pci_function at,
                        unsigned offset)
{
    if (area)
        return *area_register(area, at, offset);
    return at.segment ? UINT32_MAX : host_pci_port_read(config_address(at, offset));
}

uint32_t host_pci_read(struct host_pci_function at, unsigned offset)
{
    return read_in(find_area(at.segment, at.bus, at.bus), at, offset);
}

void host_pci_write(struct host_pci_function at, unsigned offset, uint32_t value)
{
    const struct host_pci_area *area = find_area(at.segment, at.bus, at.bus);
    if (area)
        *area_register(area, at, offset) = value;
    else if (!at.segment)
        host_pci_port_write(config_address(at, offset), value);
}

/* A vendor of 0 is no vendor, either: some bridges answer with it for what is not there. */
static bool function_exists(const struct host_pci_area *area, struct host_pci_function at)
{
    uint32_t vendor = read_in(area, at, HOST_PCI_ID) & 0xffff;
    return vendor && vendor != 0xffff;
}

static unsigned functions_of(const struct host_pci_area *area, struct host_pci_function at)
{
    if (!function_exists(area, at))
        return 0;
    return read_in(area, at, HOST_PCI_HEADER) & HEADER_MULTI ? FUNCTIONS : 1;
}

bool host_pci_reaches(struct host_pci_function at)
{
    return find_area(at.segment, at.bus, at.bus) || (!at.segment && host_pci_port_exists());
}

bool host_pci_exists(void)
{
    return find_area(0, 0, BUSES - 1) || host_pci_port_exists();
}

const char *host_pci_name(struct host_pci_function at, char *name)
{
    int used = at.segment ? snprintf(name, HOST_PCI_NAME_MAX, "%04x:", at.segment) : 0;
    snprintf(name + used, HOST_PCI_NAME_MAX - (size_t)used, "%02x:%02x.%x", at.bus, at.device,
             at.function);
    return name;
}

bool host_pci_walk(bool (*visit)(struct host_pci_function at, void *context), void *context)
{
    return host_pci_walk_buses(BUSES, visit, context);
}

static bool walk_bus(uint16_t segment, uint8_t bus,
                     bool (*visit)(struct host_pci_function at, void *context), void *context)
{
    const struct host_pci_area *area = find_area(segment, bus, bus);
    for (uint8_t device = 0; device < DEVICES; device++) {
        struct host_pci_function at = {.segment = segment, .bus = bus, .device = device};
        unsigned functions = functions_of(area, at);
        for (; at.function < functions; at.function++)
            if ((!at.function || function_exists(area, at)) && visit(at, context))
                return true;
    }
    return false;
}

static bool walk_buses(uint16_t segment, unsigned first, unsigned buses,
                       bool (*visit)(struct host_pci_function at, void *context), void *context)
{
    for (unsigned bus = first; bus < first + buses; bus++)
        if (walk_bus(segment, (uint8_t)bus, visit, context))
            return true;
    return false;
}

bool host_pci_walk_buses(unsigned buses, bool (*visit)(struct host_pci_function at, void *context),
                         void *context)
{
    if (host_pci_port_exists() && walk_buses(0, 0, buses, visit, context))
        return true;
    for (unsigned i = 0; i < area_count; i++) {
        unsigned there = areas[i].last_bus - areas[i].first_bus + 1u;
        if (walk_buses(areas[i].segment, areas[i].first_bus, there < buses ? there : buses, visit,
                       context))
            return true;
    }
    return false;
}

/* ---- BARs ------------------------------------------------------------------------------------ */

/* Writes all ones to the address bits of a BAR, and returns those that stay. */
static uint32_t bar_mask(struct host_pci_function at, unsigned offset, uint32_t before)
{
    host_pci_write(at, offset, UINT32_MAX);
    uint32_t mask = host_pci_read(at, offset);
    host_pci_write(at, offset, before);
    return mask;
}

/* The size that the writable bits of an address say; 0 if there are none. */
static uint64_t bar_size(uint64_t ones, uint64_t end)
{
    return ones ? end - ones : 0;
}

static void bar_decode(struct host_pci_function at, unsigned offset, uint32_t low,
                       struct host_pci_bar *bar)
{
    uint64_t mask = bar_mask(at, offset, low);
    if (bar->io) {
        /* A BAR need not keep the upper half of the address; a PC has no ports there. */
        bar->base = low & BAR_IO_ADDRESS;
        bar->size = bar_size(mask & BAR_IO_ADDRESS & PORTS_MAX, PORTS_MAX + 1);
        return;
    }
    mask &= BAR_MEMORY_ADDRESS;
    bar->base = low & BAR_MEMORY_ADDRESS;
    bar->size = bar_size(mask, BIT(32));
    if (bar->consumed == 2) {
        uint32_t high = host_pci_read(at, offset + 4);
        mask |= (uint64_t)bar_mask(at, offset + 4, high) << 32;
        bar->base |= (uint64_t)high << 32;
        bar->size = bar_size(mask, 0);
    }
}

/* Sizes are powers of 2, and addresses multiples of them. */
static bool bar_makes_sense(const struct host_pci_bar *bar)
{
    uint64_t least = bar->io ? 4 : 16;
    return bar->size >= least && !(bar->size & (bar->size - 1)) && !(bar->base & (bar->size - 1)) &&
           (!bar->io || bar->base <= PORTS_MAX);
}

bool host_pci_bar(struct host_pci_function at, unsigned index, struct host_pci_bar *bar)
{
    uint32_t kind = host_pci_read(at, HOST_PCI_HEADER) & (uint32_t)HEADER_KIND;
    unsigned bars = !kind ? BARS_OF_DEVICE : kind == HEADER_BRIDGE ? BARS_OF_BRIDGE : 0;
    bar->consumed = 1;
    if (index >= bars)
        return false;
    unsigned offset = HOST_PCI_BAR_0 + 4 * index;
    uint32_t low = host_pci_read(at, offset), type = low & (uint32_t)BAR_MEMORY_TYPE;
    bar->io = low & BAR_IO;
    if (!bar->io && type == BAR_MEMORY_64)
        bar->consumed = 2;
    if (index + bar->consumed > bars ||
        (!bar->io && type != BAR_MEMORY_64 && type && type != BAR_BELOW_1M))
        return false;
    uint32_t command = host_pci_read(at, HOST_PCI_COMMAND) & (uint32_t)COMMAND_HALF;
    host_pci_write(at, HOST_PCI_COMMAND, command & ~COMMAND_DECODES);
    bar_decode(at, offset, low, bar);
    host_pci_write(at, HOST_PCI_COMMAND, command);
    return bar_makes_sense(bar);
}
