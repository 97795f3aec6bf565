/* SPDX-License-Identifier: MIT */
/* Reads the MCFG; see the header. Pure. */
#include "arch/x86/mcfg.h"

#include "arch/x86/host_pci.h"
#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

/* Why an entry cannot be right; NULL: nothing is wrong with it. */
static const char *entry_problem(const struct mcfg_entry *entry, const struct boot_info *info)
{
    uint64_t start = entry->base + entry->first_bus * HOST_PCI_BUS_SIZE;
    if (entry->first_bus > entry->last_bus)
        return "its last bus is before its first one";
    if (!entry->base || entry->base % HOST_PCI_BUS_SIZE)
        return "its address is 0, or no multiple of 1 MiB";
    uint64_t size = (entry->last_bus - entry->first_bus + 1u) * HOST_PCI_BUS_SIZE;
    if (start < entry->base || start + size < start)
        return "it reaches beyond the last address";
    return boot_touches_ram(info, HPA(start), size) ? "there is RAM" : NULL;
}

static const char *use_entry(const struct mcfg_entry *entry)
{
    uint64_t start = entry->base + entry->first_bus * HOST_PCI_BUS_SIZE;
    unsigned buses = entry->last_bus - entry->first_bus + 1u;
    struct host_pci_area area = {
        .segment = entry->segment, .first_bus = entry->first_bus, .last_bus = entry->last_bus};
    const char *problem = host_pci_area_problem(&area);
    if (problem)
        return problem;
    area.registers = physical_map(HPA(start), buses * HOST_PCI_BUS_SIZE, MAP_UNCACHED);
    if (!area.registers)
        return "it cannot be mapped";
    host_pci_add_area(&area);
    log_info("pci: the configuration space of segment %u, buses %u to %u, is in memory at %#lx",
             entry->segment, entry->first_bus, entry->last_bus, start);
    return NULL;
}

void mcfg_init(const struct boot_info *info)
{
    const struct acpi_header *table = acpi_table("MCFG");
    const bool ports = host_pci_port_exists();
    struct mcfg_entry entry;
    host_pci_forget_areas();
    if (!table)
        return;
    for (size_t at = sizeof(struct mcfg_header); at + sizeof(entry) <= table->length;
         at += sizeof(entry)) {
        memcpy(&entry, (const char *)table + at, sizeof(entry));
        if (ports && !entry.segment)
            continue;
        const char *problem = entry_problem(&entry, info);
        if (!problem)
            problem = use_entry(&entry);
        if (problem)
            log_error("ACPI: the MCFG's entry for segment %u, buses %u to %u, at %#lx is not used: "
                      "%s",
                      entry.segment, entry.first_bus, entry.last_bus, entry.base, problem);
    }
}
