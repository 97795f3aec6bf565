/* SPDX-License-Identifier: MIT */
/* Chooses the console's serial port; see the header. Pure. */
#include "arch/x86/serial_find.h"

#include "arch/x86/acpi.h"
#include "arch/x86/paging.h"
#include "arch/x86/serial_card.h"
#include "arch/x86/spcr.h"
#include "lib/log.h"
#include "lib/string.h"

struct search {
    const struct serial_wish *wish;
    const struct boot_info *info; /* NULL: nothing can be mapped */
    struct serial_port *port;
    char *text;
};

/* How a port is called in messages. */
static void name_place(const struct serial_place *place, char *name, size_t size)
{
    bool com1 = !place->memory && place->address == SERIAL_COM1;
    bool com2 = !place->memory && place->address == SERIAL_COM2;
    snprintf(name, size, "%#lx%s%s", place->address, place->memory ? " in memory" : "",
             com1   ? " (COM1)"
             : com2 ? " (COM2)"
                    : "");
}

/* Maps a port that is in memory. */
static const char *map_port(const struct search *search, bool lpss)
{
    const struct serial_place *place = &search->port->at;
    uint64_t size = lpss ? LPSS_SIZE : SERIAL_REGISTERS * place->stride;
    if (!search->info)
        return "memory cannot be mapped yet";
    if (boot_touches_ram(search->info, HPA(place->address), size))
        return "there is RAM";
    search->port->memory = physical_map(HPA(place->address), size, MAP_UNCACHED);
    return search->port->memory ? NULL : "it cannot be mapped";
}

/* Tries a place that `who` names (a clause behind the port's name, or ""). */
static bool try_place(const struct search *search, const struct serial_place *place,
                      const char *who, const struct host_pci_function *lpss)
{
    struct serial_port *port = search->port;
    char name[64];
    *port = (struct serial_port){.at = *place};
    if (search->wish->baud) {
        port->at.baud = search->wish->baud;
        port->at.clock = place->clock ? place->clock : SERIAL_CLOCK;
    }
    name_place(place, name, sizeof(name));
    const char *problem = place->memory ? map_port(search, lpss) : NULL;
    if (!problem && lpss)
        lpss_wake(*lpss, port->memory);
    if (!problem)
        problem = serial_port_prove(port);
    if (problem) {
        snprintf(search->text, SERIAL_TEXT_MAX, "there is no UART at %s%s: %s", name, who, problem);
        return false;
    }
    if (port->at.clock && port->at.baud && !serial_port_divisor(port)) {
        snprintf(search->text, SERIAL_TEXT_MAX,
                 "the port at %s%s cannot make %u baud: its clock of %u Hz is divided by 16 and by "
                 "a whole number",
                 name, who, port->at.baud, port->at.clock);
        return false;
    }
    int length = snprintf(search->text, SERIAL_TEXT_MAX, "%s%s, ", name, who);
    if (serial_port_divisor(port))
        snprintf(search->text + length, SERIAL_TEXT_MAX - (size_t)length, "%u baud", port->at.baud);
    else
        snprintf(search->text + length, SERIAL_TEXT_MAX - (size_t)length, "the firmware's rate");
    return true;
}

static bool try_table(const struct search *search, const char *signature,
                      const char *(*parse)(const struct acpi_header *table,
                                           struct serial_place *place))
{
    const struct acpi_header *table = acpi_table(signature);
    struct serial_place place;
    char who[32];
    if (!table)
        return false;
    snprintf(who, sizeof(who), ", which ACPI's %s names", signature);
    const char *problem = parse(table, &place);
    if (problem)
        log_info("serial: ACPI's %s names no port for a console: %s", signature, problem);
    else if (try_place(search, &place, who, NULL))
        return true;
    else
        log_info("serial: %s", search->text);
    return false;
}

bool serial_find_by_acpi(const struct serial_wish *wish, const struct boot_info *info,
                         struct serial_port *port, char *text)
{
    const struct search search = {.wish = wish, .info = info, .port = port, .text = text};
    return try_table(&search, "SPCR", spcr_parse) || try_table(&search, "DBG2", dbg2_parse);
}

static bool try_io(const struct search *search, uint64_t port)
{
    const struct serial_place place = {
        .address = port, .stride = 1, .width = 1, .clock = SERIAL_CLOCK, .baud = SERIAL_BAUD};
    return try_place(search, &place, "", NULL);
}

static bool try_card(const struct search *search, struct host_pci_function at, unsigned number)
{
    struct serial_place place;
    char who[96], name[HOST_PCI_NAME_MAX];
    const char *problem = serial_card_place(at, number, &place);
    snprintf(who, sizeof(who), ", port %u of the PCI function %s", number, host_pci_name(at, name));
    if (!problem)
        return try_place(search, &place, who, serial_card_is_lpss(at) ? &at : NULL);
    snprintf(search->text, SERIAL_TEXT_MAX, "the PCI function %s cannot be used: %s", name,
             problem);
    return false;
}

static bool try_if_card(struct host_pci_function at, void *context)
{
    return serial_card_by_class(at) && try_card(context, at, 0);
}

static bool try_mmio(const struct search *search)
{
    const struct serial_wish *wish = search->wish;
    const struct serial_place place = {
        .memory = true,
        .address = wish->address,
        .stride = wish->stride,
        .width = wish->stride < sizeof(uint32_t) ? 1 : (unsigned)sizeof(uint32_t),
    };
    return try_place(search, &place, "", NULL);
}

static bool try_all(struct search *search)
{
    if ((search->info &&
         serial_find_by_acpi(search->wish, search->info, search->port, search->text)) ||
        try_io(search, SERIAL_COM1))
        return true;
    char no_com1[SERIAL_TEXT_MAX / 2];
    snprintf(no_com1, sizeof(no_com1), "%.*s", (int)sizeof(no_com1) - 1, search->text);
    search->text[0] = 0;
    if (host_pci_walk(try_if_card, search))
        return true;
    /* A card that is there says more than COM1. */
    if (!search->text[0])
        snprintf(search->text, SERIAL_TEXT_MAX, "%s; and there is no PCI card with one", no_com1);
    return false;
}

bool serial_find(const struct serial_wish *wish, const struct boot_info *info,
                 struct serial_port *port, char *text)
{
    struct search search = {.wish = wish, .info = info, .port = port, .text = text};
    text[0] = 0;
    switch (wish->where) {
    case SERIAL_IO:
        return try_io(&search, wish->address);
    case SERIAL_PCI:
        return try_card(&search, wish->pci, wish->number);
    case SERIAL_MEMORY:
        return try_mmio(&search);
    default:
        return try_all(&search);
    }
}
