/* SPDX-License-Identifier: MIT */
/* The nodes of a NUMA machine, as ACPI's SRAT lists them (ACPI 6.5, 5.2.16). They are counted for
 * the log and not used. Pure; the contents of the table are untrusted. */
#pragma once

#include "arch/x86/acpi.h"

#define SRAT_NODES 64u /* that are told apart */

struct srat {
    unsigned nodes; /* 0: no usable table */
    uint32_t ids[SRAT_NODES];
    unsigned without_memory; /* of these */
    bool more;               /* there are nodes beyond SRAT_NODES */
    uint64_t has_memory;     /* a bit for each element of ids[] */
};

/* `table` may be NULL. An entry that is malformed is named, and then nothing counts. */
void srat_parse(const struct acpi_header *table, struct srat *srat);

/* Prints one line if there is more than one node. */
void srat_log(const struct srat *srat);
