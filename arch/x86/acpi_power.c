/* SPDX-License-Identifier: MIT */
/* Restarts the machine and switches it off by ACPI; see the header. Pure. */
#include "arch/x86/acpi_power.h"

#include "arch/x86/fadt.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/host_port.h"
#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

/* ACPI 6.5, 4.8.3.2 and 4.8.3.7. */
#define PM1_SCI_EN      BIT(0)
#define PM1_SLP_TYP     BITS(12, 10)
#define PM1_SLP_EN      BIT(13)
#define SLEEP_TYPE      BITS(4, 2)
#define SLEEP_ENABLE    BIT(5)
#define SLEEP_WAKE      BIT(7) /* of the status; writing 1 clears it */
#define SLP_TYP_MAX     7u
#define PM1_SIZE        2u
#define AML_NAME        0x08
#define AML_ROOT        '\\'
#define AML_PACKAGE     0x12
#define AML_BYTE_PREFIX 0x0a
#define AML_ONE         0x01
#define RESET_SIZE_MIN  (offsetof(struct fadt, reset_value) + 1)

/* Firmware may need a second to switch to ACPI mode, in which it still handles some SMIs. A read of
 * a port takes about a microsecond. */
#define ENABLE_READS 1000000u

/* A register that can be accessed. */
struct power_register {
    bool there;
    uint8_t space;
    uint64_t address;
    volatile void *memory;
};

static struct {
    struct power_register reset, pm1[2], sleep_control, sleep_status;
    uint8_t reset_value, type[2];
    bool has_type;        /* the sleep type of S5 is known */
    uint16_t smi_command; /* 0: the machine is in ACPI mode, or has no other one */
    uint8_t acpi_enable;
} power;

/* ---- Registers ------------------------------------------------------------------------------- */

static struct host_pci_function pci_function(uint64_t address)
{
    return (struct host_pci_function){.device = (uint8_t)(address >> 32),
                                      .function = (uint8_t)(address >> 16)};
}

/* Why a register of `size` bytes cannot be used; NULL: it can. */
static const char *register_problem(const struct acpi_address *at, unsigned size,
                                    const struct boot_info *info)
{
    if (at->bit_offset)
        return "it does not begin at bit 0";
    if (!at->address)
        return "its address is 0";
    switch (at->space) {
    case ACPI_MEMORY:
        if (at->address % size)
            return "its address is no multiple of its size";
        return boot_touches_ram(info, HPA(at->address), size) ? "there is RAM" : NULL;
    case ACPI_IO:
        return at->address > 0x10000u - size ? "there is no such I/O port" : NULL;
    case ACPI_PCI: /* of bus 0 */
        return at->address >> 32 > 31 || (at->address >> 16 & 0xffff) > 7 ||
                       (at->address & 0xffff) > 0xff
                   ? "there is no such register of a PCI function"
                   : NULL;
    default:
        return "it is neither in memory, nor at an I/O port, nor in PCI's configuration space";
    }
}

/* The width and the size of an access are not asked for: they are wrong in many tables, and each of
 * these registers has a fixed size. */
static void take_register(const char *name, const struct acpi_address *at, unsigned size,
                          const struct boot_info *info, struct power_register *taken)
{
    const char *problem = register_problem(at, size, info);
    *taken = (struct power_register){.space = at->space, .address = at->address};
    if (!problem && at->space == ACPI_MEMORY) {
        taken->memory = physical_map(HPA(at->address), size, MAP_UNCACHED);
        problem = taken->memory ? NULL : "it cannot be mapped";
    }
    taken->there = !problem;
    if (problem)
        log_info("ACPI: the FADT's %s (space %u, address %#lx, bit %u) is not used: %s", name,
                 at->space, at->address, at->bit_offset, problem);
}

static uint32_t register_read(const struct power_register *at, unsigned size)
{
    if (at->space == ACPI_MEMORY)
        return host_register_read(at->memory, size);
    return size == PM1_SIZE ? host_port_read_16((uint16_t)at->address)
                            : host_port_read((uint16_t)at->address);
}

static void register_write(const struct power_register *at, unsigned size, uint64_t value)
{
    if (at->space == ACPI_MEMORY)
        host_register_write(at->memory, size, (uint32_t)value);
    else if (size == PM1_SIZE)
        host_port_write_16((uint16_t)at->address, (uint16_t)value);
    else
        host_port_write((uint16_t)at->address, (uint8_t)value);
}

/* ---- S5 -------------------------------------------------------------------------------------- */

/* Reads one small integer of an AML package: 0, 1, or a byte constant. */
static const uint8_t *aml_integer(const uint8_t *at, const uint8_t *end, uint8_t *value)
{
    if (at < end && *at == AML_BYTE_PREFIX)
        at++;
    else if (at < end && at[0] > AML_ONE)
        return NULL;
    if (at >= end || *at > SLP_TYP_MAX)
        return NULL;
    *value = *at;
    return at + 1;
}

/* Whether a package of two or more small integers, of which the first two are taken, is at `at`. */
static bool take_package(const uint8_t *at, const uint8_t *end, uint8_t type[2])
{
    if (end - at < 2 || *at++ != AML_PACKAGE)
        return false;
    at += (*at >> 6) + 1; /* the package's length */
    if (at >= end || *at++ < 2)
        return false;
    at = aml_integer(at, end, &type[0]);
    return at && aml_integer(at, end, &type[1]);
}

/* Finds `Name (_S5_, Package () {a, b, …})` in a table's AML. A method of this name is not run. */
static bool find_s5(const struct acpi_header *table, uint8_t type[2])
{
    const uint8_t *begin = (const uint8_t *)(table + 1),
                  *end = (const uint8_t *)table + table->length;
    for (const uint8_t *at = begin + 1; end - at > 4; at++) {
        bool named =
            at[-1] == AML_NAME || (at[-1] == AML_ROOT && at > begin + 1 && at[-2] == AML_NAME);
        if (named && !memcmp(at, "_S5_", 4) && take_package(at + 4, end, type))
            return true;
    }
    return false;
}

static const struct acpi_header *find_dsdt(const struct fadt *fadt)
{
    const struct acpi_header *dsdt =
        fadt->dsdt_64 ? acpi_table_at(HPA(fadt->dsdt_64), "DSDT") : NULL;
    return dsdt || !fadt->dsdt ? dsdt : acpi_table_at(HPA(fadt->dsdt), "DSDT");
}

/* A name is defined once, in any of the tables (ACPI 6.5, 5.2.11.2). */
static void look_into_ssdt(hpa_t address, const struct acpi_header *header)
{
    if (power.has_type || memcmp(header->signature, "SSDT", sizeof(header->signature)))
        return;
    const struct acpi_header *ssdt = acpi_table_at(address, "SSDT");
    power.has_type = ssdt && find_s5(ssdt, power.type);
}

static bool find_sleep_type(const struct fadt *fadt)
{
    const struct acpi_header *dsdt = find_dsdt(fadt);
    power.has_type = dsdt && find_s5(dsdt, power.type);
    if (!power.has_type)
        acpi_list(look_into_ssdt);
    return power.has_type;
}

/* The 32-bit field, where it is not 0: some firmware has only that one right. */
static void take_pm1(const char *name, uint32_t port, const struct acpi_address *wide,
                     const struct boot_info *info, struct power_register *taken)
{
    const struct acpi_address narrow = {.space = ACPI_IO, .address = port};
    if (port || wide->address)
        take_register(name, port ? &narrow : wide, PM1_SIZE, info, taken);
    if (taken->there && taken->space == ACPI_PCI)
        taken->there = false; /* the field cannot mean that */
}

static void init_sleep(const struct fadt *fadt, const struct boot_info *info)
{
    if (!find_sleep_type(fadt))
        return;
    if (fadt_is_reduced(fadt)) {
        take_register("sleep control register", &fadt->sleep_control, 1, info,
                      &power.sleep_control);
        if (power.sleep_control.there)
            take_register("sleep status register", &fadt->sleep_status, 1, info,
                          &power.sleep_status);
        return;
    }
    take_pm1("PM1a control register", fadt->pm1a_control, &fadt->pm1a_control_64, info,
             &power.pm1[0]);
    take_pm1("PM1b control register", fadt->pm1b_control, &fadt->pm1b_control_64, info,
             &power.pm1[1]);
    if (fadt->acpi_enable && fadt->smi_command <= UINT16_MAX) {
        power.smi_command = (uint16_t)fadt->smi_command;
        power.acpi_enable = fadt->acpi_enable;
    }
}

void acpi_power_init(const struct boot_info *info)
{
    struct fadt fadt;
    memset(&power, 0, sizeof(power));
    if (!fadt_read(&fadt))
        return;
    if (fadt.header.revision >= FADT_REVISION_RESET && fadt.flags & FADT_RESET) {
        if (fadt.header.length < RESET_SIZE_MIN)
            log_info("ACPI: the FADT says that there is a reset register (flags %#x, bit 10), but "
                     "has only %u bytes; %zu would be needed for it",
                     fadt.flags, fadt.header.length, RESET_SIZE_MIN);
        else
            take_register("reset register", &fadt.reset, 1, info, &power.reset);
        power.reset_value = fadt.reset_value;
    }
    init_sleep(&fadt, info);
}

/* ---- The end --------------------------------------------------------------------------------- */

bool acpi_reset(void)
{
    const struct power_register *reset = &power.reset;
    if (!reset->there)
        return false;
    if (reset->space != ACPI_PCI) {
        register_write(reset, 1, power.reset_value);
        return true;
    }
    unsigned offset = reset->address & 0xffu, shift = offset % 4 * 8;
    struct host_pci_function at = pci_function(reset->address);
    uint32_t others = host_pci_read(at, offset & ~3u) & ~(0xffu << shift);
    host_pci_write(at, offset & ~3u, others | (uint32_t)power.reset_value << shift);
    return true;
}

/* S5 is entered from ACPI mode (ACPI 6.5, 4.8.2.5): until then, some firmware catches the write of
 * SLP_EN and does nothing. */
static void enter_acpi_mode(void)
{
    const struct power_register *pm1a = &power.pm1[0];
    if (!power.smi_command || register_read(pm1a, PM1_SIZE) & PM1_SCI_EN)
        return;
    host_port_write(power.smi_command, power.acpi_enable);
    for (unsigned i = 0; i < ENABLE_READS; i++)
        if (register_read(pm1a, PM1_SIZE) & PM1_SCI_EN)
            return;
}

static void enter_s5_by_pm1(void)
{
    uint64_t values[2];
    enter_acpi_mode();
    for (unsigned i = 0; i < 2; i++) {
        if (!power.pm1[i].there)
            continue;
        values[i] = register_read(&power.pm1[i], PM1_SIZE) & ~(PM1_SLP_TYP | PM1_SLP_EN);
        values[i] |= field_put(power.type[i], PM1_SLP_TYP);
        register_write(&power.pm1[i], PM1_SIZE, values[i]);
    }
    for (unsigned i = 0; i < 2; i++)
        if (power.pm1[i].there)
            register_write(&power.pm1[i], PM1_SIZE, values[i] | PM1_SLP_EN);
}

bool acpi_power_off(void)
{
    if (power.pm1[0].there)
        enter_s5_by_pm1();
    if (!power.sleep_control.there)
        return power.pm1[0].there;
    if (power.sleep_status.there)
        register_write(&power.sleep_status, 1, SLEEP_WAKE);
    register_write(&power.sleep_control, 1, field_put(power.type[0], SLEEP_TYPE) | SLEEP_ENABLE);
    return true;
}
