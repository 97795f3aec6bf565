/* SPDX-License-Identifier: MIT */
/* Reads what ACPI says of a PC's parts; see the header. Pure. */
#include "arch/x86/pc_parts.h"

#include "arch/x86/fadt.h"
#include "arch/x86/madt.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* The IA-PC boot architecture flags (ACPI 6.5, table 5.11). */
#define BOOT_8042   BIT(1)
#define BOOT_NO_VGA BIT(2)
#define BOOT_NO_RTC BIT(5)
#define MADT_PC_AT  BIT(0) /* there are 8259s, too */

static bool lacks[PC_PARTS];

static void use_fadt(void)
{
    struct fadt fadt;
    if (!fadt_read(&fadt))
        return;
    uint8_t revision = fadt.header.revision;
    lacks[PC_I8042] = revision >= FADT_REVISION_8042 && !(fadt.boot_flags & BOOT_8042);
    lacks[PC_VGA] = revision >= FADT_REVISION_VGA && fadt.boot_flags & BOOT_NO_VGA;
    lacks[PC_RTC] = revision >= FADT_REVISION_REDUCED && fadt.boot_flags & BOOT_NO_RTC;
    lacks[PC_PIT] = fadt_is_reduced(&fadt);
}

static void read_madt(const struct acpi_header *table)
{
    const struct madt_header *madt = (const struct madt_header *)table;
    if (table && table->length >= sizeof(*madt))
        lacks[PC_PIC] = !(madt->flags & MADT_PC_AT);
}

void pc_parts_init(void)
{
    static const char *const names[PC_PARTS] = {[PC_PIC] = "8259s",
                                                [PC_PIT] = "PIT",
                                                [PC_RTC] = "RTC",
                                                [PC_I8042] = "keyboard controller",
                                                [PC_VGA] = "VGA"};
    char text[LOG_LINE_MAX];
    size_t length = 0;
    memset(lacks, 0, sizeof(lacks));
    use_fadt();
    read_madt(acpi_table("APIC"));
    for (unsigned i = 0; i < PC_PARTS; i++)
        if (lacks[i])
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s no %s",
                                       length ? "," : "", names[i]);
    if (length)
        log_info("legacy: by ACPI, this machine has%s", text);
}

bool pc_has(enum pc_part part)
{
    return !lacks[part];
}
