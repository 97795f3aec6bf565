/* SPDX-License-Identifier: MIT */
/* Reads the FADT; see the header. Pure. */
#include "arch/x86/fadt.h"

#include "lib/string.h"

bool fadt_read(struct fadt *fadt)
{
    const struct acpi_header *table = acpi_table("FACP");
    memset(fadt, 0, sizeof(*fadt));
    if (!table || table->length < FADT_SIZE_MIN)
        return false;
    memcpy(fadt, table, table->length < sizeof(*fadt) ? table->length : sizeof(*fadt));
    return true;
}
