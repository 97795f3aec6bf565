/* SPDX-License-Identifier: MIT */
/* Powers off through ACPI. The hypervisor interprets no AML; it only finds two numbers in it. */
#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "lib/string.h"

/* Offsets in the FADT (ACPI 6.5, table 5.9). */
#define FADT_DSDT       40
#define FADT_PM1A       64
#define FADT_PM1B       68
#define FADT_SIZE_MIN   116
#define PM1_SLP_TYP(t)  ((uint16_t)((t) << 10))
#define PM1_SLP_EN      ((uint16_t)BIT(13))
#define AML_PACKAGE     0x12
#define AML_BYTE_PREFIX 0x0a

/* Reads one small integer of an AML package: 0, 1, or a byte constant. */
static const uint8_t *aml_integer(const uint8_t *at, const uint8_t *end, uint8_t *value)
{
    if (at < end && *at == AML_BYTE_PREFIX)
        at++;
    *value = at < end ? *at : 0;
    return at + 1;
}

/* Finds `Name (_S5_, Package () {a, b, …})` in the DSDT's AML and returns a and b. */
static bool find_s5(const struct acpi_header *dsdt, uint8_t type[2])
{
    const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;
    for (const uint8_t *at = (const uint8_t *)(dsdt + 1); at + 8 < end; at++) {
        if (memcmp(at, "_S5_", 4) || at[4] != AML_PACKAGE)
            continue;
        at += 5;
        at += (*at >> 6) + 2; /* skip the package's length and number of elements */
        at = aml_integer(at, end, &type[0]);
        aml_integer(at, end, &type[1]);
        return true;
    }
    return false;
}

void acpi_power_off(void)
{
    const struct acpi_header *fadt = acpi_table("FACP");
    uint32_t dsdt_address, pm1a, pm1b;
    uint8_t type[2];
    if (!fadt || fadt->length < FADT_SIZE_MIN)
        return;
    memcpy(&dsdt_address, (const char *)fadt + FADT_DSDT, 4);
    memcpy(&pm1a, (const char *)fadt + FADT_PM1A, 4);
    memcpy(&pm1b, (const char *)fadt + FADT_PM1B, 4);
    const struct acpi_header *dsdt = acpi_table_at(HPA(dsdt_address), "DSDT");
    if (!dsdt || !find_s5(dsdt, type))
        return;
    /* Hardware-reduced ACPI has no such ports. */
    if (pm1a && pm1a <= UINT16_MAX)
        outw((uint16_t)pm1a, PM1_SLP_TYP(type[0]) | PM1_SLP_EN);
    if (pm1b && pm1b <= UINT16_MAX)
        outw((uint16_t)pm1b, PM1_SLP_TYP(type[1]) | PM1_SLP_EN);
}
