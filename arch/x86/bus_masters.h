/* SPDX-License-Identifier: MIT */
/*
 * Devices that the firmware has left as bus masters: they can write into memory at any time, and
 * the firmware may have told them to, as it does a network card that receives. Nothing here uses
 * them, and no IOMMU holds them back, so they are named as a risk in the log. Pure, on top of
 * arch/x86/host_pci.h.
 */
#pragma once

#include "arch/x86/host_pci.h"

#define BUS_MASTERS_NAMED 12u

struct bus_master {
    struct host_pci_function at;
    uint32_t id, class; /* as in the registers, without the revision */
};

struct bus_masters {
    unsigned count;
    struct bus_master named[BUS_MASTERS_NAMED];
};

/* Finds them. `all_buses`: on all 256 buses; otherwise on bus 0 and those that bridges lead to,
 * which takes fewer accesses: below a hypervisor each one is an exit. */
void bus_masters_find(bool all_buses, struct bus_masters *found);

/* Prints nothing if there are none; else one line and up to three with their names. */
void bus_masters_log(const struct bus_masters *found);
