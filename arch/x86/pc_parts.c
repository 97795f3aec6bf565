/* SPDX-License-Identifier: MIT */
/* Reads what ACPI says of a PC's parts; see the header. Pure. */
#include "arch/x86/pc_parts.h"

#include "arch/x86/acpi.h"
#include "arch/x86/madt.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* Offsets in the FADT (ACPI 6.5, table 5.9), and the bits of what is there (table 5.11). */
#define FADT_BOOT_ARCH 109u
#define FADT_FLAGS     112u
#define FADT_SIZE_MIN  116u
#define FADT_REDUCED   BIT(20)
#define BOOT_8042      BIT(1)
#define BOOT_NO_VGA    BIT(2)
#define BOOT_NO_RTC    BIT(5)
#define MADT_PC_AT     BIT(0) /* there are 8259s, too */

/* The revisions of the FADT that define these bits: of ACPI 2.0, 3.0 and 5.0. */
#define REVISION_8042    3
#define REVISION_VGA     4
#define REVISION_REDUCED 5

static bool lacks[PC_PARTS];

static void read_fadt(const struct acpi_header *fadt)
{
    uint16_t boot;
    uint32_t flags;
    if (!fadt || fadt->length < FADT_SIZE_MIN)
        return;
    memcpy(&boot, (const char *)fadt + FADT_BOOT_ARCH, sizeof(boot));
    memcpy(&flags, (const char *)fadt + FADT_FLAGS, sizeof(flags));
    lacks[PC_I8042] = fadt->revision >= REVISION_8042 && !(boot & BOOT_8042);
    lacks[PC_VGA] = fadt->revision >= REVISION_VGA && boot & BOOT_NO_VGA;
    if (fadt->revision < REVISION_REDUCED)
        return;
    lacks[PC_RTC] = boot & BOOT_NO_RTC;
    lacks[PC_PIT] = flags & FADT_REDUCED;
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
    read_fadt(acpi_table("FACP"));
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
