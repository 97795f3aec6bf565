/* SPDX-License-Identifier: MIT */
#include "launch/firmware.h"

#include "arch/x86/fadt.h"
#include "arch/x86/madt.h"
#include "dev/pci.h"
#include "dev/power.h"
#include "dev/rtc.h"
#include "dev/uart.h"
#include "dev/virtio_mmio.h"
#include "guest/abi.h"
#include "launch/aml.h"
#include "lib/assert.h"
#include "lib/bits.h"
#include "vm/layout.h"

/* The MADT's entry for an I/O APIC (ACPI 6.5, table 5.24). */
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, first_line;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_ioapic) == 12, "ACPI 6.5, table 5.24");
#define MADT_IOAPIC 1

/* With `legacy`, the MADT says that there are 8259s, that IRQ 0 is not at pin 0 of the I/O APIC,
 * and that LINT1 of each CPU is for NMIs (ACPI 6.5, tables 5.20, 5.25 and 5.27). */
struct madt_override {
    uint8_t type, length, bus, source;
    uint32_t line;
    uint16_t flags;
} __attribute__((packed));
struct madt_nmi {
    uint8_t type, length, processor;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_override) == 10, "ACPI 6.5, table 5.25");
_Static_assert(sizeof(struct madt_nmi) == 6, "ACPI 6.5, table 5.27");
#define MADT_PCAT_COMPAT BIT(0)
#define MADT_OVERRIDE    2
#define MADT_NMI         4
#define MADT_ALL_CPUS    0xff

/* The MADT's entry for the mailbox by which a TD wakes its other CPUs (ACPI 6.5, table 5.43). */
struct madt_wakeup {
    uint8_t type, length;
    uint16_t version;
    uint32_t reserved;
    uint64_t mailbox;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_wakeup) == 16, "ACPI 6.5, table 5.43");
#define MADT_WAKEUP 0x10

#define ACCESS_BYTE 1u
#define ACCESS_LONG 3u

/* The fixed feature flags (table 5.10), and the IA-PC boot architecture flags (table 5.11), which
 * announce neither an 8042 nor a VGA adapter. */
#define FADT_WBINVD   BIT(0)
#define FADT_NO_POWER BIT(4) /* there is no power button among the fixed features */
#define FADT_NO_SLEEP BIT(5)
#define FADT_TIMER_32 BIT(8)
#define FADT_HEADLESS BIT(12)
#define FADT_FLAGS                                                                              \
    (FADT_WBINVD | FADT_NO_POWER | FADT_NO_SLEEP | FADT_TIMER_32 | FADT_RESET | FADT_HEADLESS | \
     FADT_REDUCED)
#define FADT_LEGACY_DEVICES BIT(0)
#define FADT_NO_VGA         BIT(2)

/* The MCFG (PCI Firmware Specification 3.2, table 4-2) with one entry (table 4-3): where the
 * configuration spaces of a range of buses lie. */
struct mcfg {
    struct acpi_header header;
    uint64_t unused1;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t unused2;
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg) == 60, "PCI Firmware Specification 3.2, table 4-2");

#define DSDT_SIZE 1536u

/* The page that holds the tables. The RSDP comes first because it must be aligned to 16 bytes; the
 * other tables need no alignment. */
struct firmware {
    struct acpi_rsdp rsdp;
    struct {
        struct acpi_header header;
        uint64_t tables[3];
    } __attribute__((packed)) xsdt;
    struct fadt fadt;
    struct mcfg mcfg;
    struct {
        struct madt_header header;
        uint8_t entries[VCPUS_MAX * sizeof(struct madt_lapic) + sizeof(struct madt_ioapic) +
                        sizeof(struct madt_override) + sizeof(struct madt_nmi) +
                        sizeof(struct madt_wakeup)];
    } __attribute__((packed)) madt;
    struct {
        struct acpi_header header;
        uint8_t aml[DSDT_SIZE];
    } __attribute__((packed)) dsdt;
};
_Static_assert(sizeof(struct firmware) <= sizeof(((struct load_plan *)0)->firmware), "one page");

/* A local APIC entry holds an APIC ID of 8 bits; an ID of 255 or more would need an x2APIC entry
 * (ACPI 6.5, 5.2.12.12). */
_Static_assert(VCPUS_MAX <= 255, "IDs of 8 bits");

#define OEM       "EPTVIS"
#define OEM_TABLE "EPTVISOR"
#define CREATOR   "EPTV"

#define ADDRESS_OF(member) (GUEST_FIRMWARE + offsetof(struct firmware, member))

/* Returns the checksum that makes the sum of a table's bytes 0. The checksum in the table is still
 * 0. */
static uint8_t acpi_checksum(const void *table, size_t size)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

static void acpi_table_finish(struct acpi_header *header, const char signature[4], uint8_t revision,
                              size_t length)
{
    memcpy(header->signature, signature, sizeof(header->signature));
    memcpy(header->oem, OEM, sizeof(header->oem));
    memcpy(header->oem_table, OEM_TABLE, sizeof(header->oem_table));
    memcpy(header->creator, CREATOR, sizeof(header->creator));
    header->oem_revision = header->creator_revision = 1;
    header->revision = revision;
    header->length = (uint32_t)length;
    header->checksum = acpi_checksum(header, length);
}

void firmware_rsdp(struct acpi_rsdp *rsdp)
{
    memset(rsdp, 0, sizeof(*rsdp));
    memcpy(rsdp->signature, ACPI_RSDP, sizeof(rsdp->signature));
    memcpy(rsdp->oem, OEM, sizeof(rsdp->oem));
    rsdp->revision = 2;
    rsdp->length = sizeof(*rsdp);
    rsdp->xsdt = ADDRESS_OF(xsdt);
    rsdp->checksum = acpi_checksum(rsdp, ACPI_RSDP_SIZE_1);
    rsdp->extended_checksum = acpi_checksum(rsdp, sizeof(*rsdp));
}

/* Adds an entry, and returns the place for the next one. */
static uint8_t *madt_add_entry(uint8_t *at, const void *entry, size_t size)
{
    memcpy(at, entry, size);
    return at + size;
}

static void fill_madt(struct firmware *firmware, const struct guest_image *image)
{
    uint8_t *at = firmware->madt.entries;
    for (unsigned i = 0; i < image->cpus; i++) {
        const struct madt_lapic lapic = {.type = MADT_LAPIC,
                                         .length = sizeof(lapic),
                                         .processor = (uint8_t)i,
                                         .apic_id = (uint8_t)i,
                                         .flags = MADT_ENABLED};
        at = madt_add_entry(at, &lapic, sizeof(lapic));
    }
    const struct madt_ioapic ioapic = {
        .type = MADT_IOAPIC, .length = sizeof(ioapic), .address = GUEST_IOAPIC};
    if (image->pc)
        at = madt_add_entry(at, &ioapic, sizeof(ioapic));
    const struct madt_override timer = {
        .type = MADT_OVERRIDE, .length = sizeof(timer), .source = 0, .line = LINE_PIT};
    const struct madt_nmi nmi = {
        .type = MADT_NMI, .length = sizeof(nmi), .processor = MADT_ALL_CPUS, .lint = 1};
    if (image->legacy) {
        at = madt_add_entry(at, &timer, sizeof(timer));
        at = madt_add_entry(at, &nmi, sizeof(nmi));
        firmware->madt.header.flags = MADT_PCAT_COMPAT;
    }
    const struct madt_wakeup wakeup = {
        .type = MADT_WAKEUP, .length = sizeof(wakeup), .mailbox = GUEST_SHIM_MAILBOX};
    if (image->td)
        at = madt_add_entry(at, &wakeup, sizeof(wakeup));
    firmware->madt.header.lapic = GUEST_LAPIC;
    acpi_table_finish(&firmware->madt.header.acpi, "APIC", 5,
                      (size_t)(at - (const uint8_t *)&firmware->madt));
}

static struct acpi_address acpi_port(uint64_t address, uint8_t bits)
{
    return (struct acpi_address){ACPI_IO, bits, 0, bits == 8 ? ACCESS_BYTE : ACCESS_LONG, address};
}

static void fill_fadt(struct firmware *firmware)
{
    struct fadt *fadt = &firmware->fadt;
    fadt->dsdt = (uint32_t)ADDRESS_OF(dsdt);
    fadt->dsdt_64 = ADDRESS_OF(dsdt);
    fadt->boot_flags = FADT_LEGACY_DEVICES | FADT_NO_VGA;
    fadt->flags = FADT_FLAGS;
    fadt->reset = acpi_port(PORT_RESET, 8);
    fadt->reset_value = POWER_RESET_VALUE;
    fadt->pm_timer_64 = acpi_port(PORT_PM_TIMER, 32);
    fadt->sleep_control = acpi_port(PORT_SLEEP, 8);
    fadt->sleep_status = acpi_port(PORT_SLEEP + 1, 8);
    fadt->minor_revision = 5;
    acpi_table_finish(&fadt->header, "FACP", 6, sizeof(*fadt));
}

/* Describes a virtio device with the MMIO transport, by the ID that Linux' virtio_mmio driver binds
 * to. */
static void describe_virtio(struct aml *aml, uint64_t address, unsigned line)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned number = (unsigned)((address - GUEST_VIRTIO) / PAGE_SIZE) % 16;
    const struct aml_resources resources = {.memory = (uint32_t)address,
                                            .memory_size = VIRTIO_MMIO_SIZE,
                                            .has_line = true,
                                            .line = line,
                                            .level = true};
    const char name[] = {'V', 'R', '0', digits[number], 0};
    size_t device = aml_device(aml, name);
    aml_name_string(aml, "_HID", "LNRO0005");
    aml_name_integer(aml, "_UID", (uint8_t)number);
    aml_name_integer(aml, "_CCA", 1);
    aml_name_resources(aml, &resources);
    aml_end(aml, device);
}

static void describe_virtio_devices(struct aml *aml, const struct guest_image *image)
{
    for (unsigned i = 0; i < image->disks; i++)
        describe_virtio(aml, GUEST_VIRTIO + i * PAGE_SIZE, LINE_VIRTIO + i);
    if (image->net)
        describe_virtio(aml, GUEST_VIRTIO_NET, LINE_NET);
    if (image->hvc)
        describe_virtio(aml, GUEST_VIRTIO_HVC, LINE_HVC);
    if (image->rng)
        describe_virtio(aml, GUEST_VIRTIO_RNG, LINE_RNG);
}

static void fill_mcfg(struct firmware *firmware)
{
    firmware->mcfg.base = GUEST_ECAM;
    acpi_table_finish(&firmware->mcfg.header, "MCFG", 1, sizeof(firmware->mcfg));
}

/* Describes the host bridge, and, as the resource of another device, the memory in which the
 * configuration spaces lie: Linux looks for it there and in the memory map. */
static void describe_pci(struct aml *aml)
{
    static const struct aml_resources bridge = {.port = PORT_PCI_ADDRESS,
                                                .ports = 2 * PCI_PORTS,
                                                .window = GUEST_BARS,
                                                .window_size = GUEST_BARS_SIZE};
    static const struct aml_resources spaces = {.memory = GUEST_ECAM,
                                                .memory_size = GUEST_ECAM_SIZE};
    size_t device = aml_device(aml, "PCI0");
    aml_name_eisa_id(aml, "_HID", "PNP0A08");
    aml_name_eisa_id(aml, "_CID", "PNP0A03");
    aml_name_integer(aml, "_UID", 0);
    aml_name_integer(aml, "_SEG", 0);
    aml_name_integer(aml, "_BBN", 0);
    aml_name_integer(aml, "_CCA", 1);
    aml_name_resources(aml, &bridge);
    aml_name_routing(aml, PCI_DEVICES - 1, LINE_PCI, PCI_LINES);
    aml_grant_control(aml);
    aml_end(aml, device);
    device = aml_device(aml, "MBRD");
    aml_name_eisa_id(aml, "_HID", "PNP0C02");
    aml_name_integer(aml, "_UID", 0);
    aml_name_resources(aml, &spaces);
    aml_end(aml, device);
}

static void fill_dsdt(struct firmware *firmware, const struct guest_image *image)
{
    static const struct {
        const char *name, *id;
        struct aml_resources resources;
    } devices[] = {
        {"COM1",
         "PNP0501",
         {.port = PORT_UART, .ports = UART_PORTS, .has_line = true, .line = LINE_UART}},
        {"RTC_", "PNP0B00", {.port = PORT_RTC, .ports = RTC_PORTS}},
    };
    static const uint8_t sleep_5[] = {POWER_S5, 0, 0, 0};
    struct aml aml = {.bytes = firmware->dsdt.aml, .size = DSDT_SIZE};

    aml_name_package(&aml, "_S5_", sleep_5, ARRAY_SIZE(sleep_5));
    size_t scope = aml_scope(&aml, "_SB_");
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
        size_t device = aml_device(&aml, devices[i].name);
        aml_name_eisa_id(&aml, "_HID", devices[i].id);
        aml_name_integer(&aml, "_UID", 0);
        aml_name_resources(&aml, &devices[i].resources);
        aml_end(&aml, device);
    }
    if (image->pci)
        describe_pci(&aml);
    else
        describe_virtio_devices(&aml, image);
    aml_end(&aml, scope);
    acpi_table_finish(&firmware->dsdt.header, "DSDT", 2, sizeof(struct acpi_header) + aml.used);
}

/* ---- The reset vector ------------------------------------------------------------------------ */

/* A kernel in real mode jumps to F000:FFF0 if it knows no better way to reset its machine. Linux
 * does so without trying the FADT's reset register if the FADT says that the hardware is reduced,
 * since it expects EFI there. A TD has no real mode. */
static const uint8_t reset_code[] = {
    0xba, 0xf9,
    0x0c,                    /* mov $0xcf9, %dx */
    0x30, 0xc0,              /* xor %al, %al: the bit that resets has to rise */
    0xee,                    /* out %al, %dx */
    0xb0, POWER_RESET_VALUE, /* mov $6, %al */
    0xee,                    /* out %al, %dx */
    0xf4,                    /* hlt */
    0xeb, 0xfd,              /* jmp to the HLT */
};

static enum exit_code add_reset_code(struct load_plan *plan, const struct guest_image *image)
{
    return plan_add(plan, image,
                    (struct load_record){.gpa = GUEST_RESET,
                                         .bytes = reset_code,
                                         .size = sizeof(reset_code),
                                         .extent = sizeof(reset_code),
                                         .kind = LOAD_RESET});
}

/* ---- All of it ------------------------------------------------------------------------------- */

enum exit_code firmware_plan(struct load_plan *plan, const struct guest_image *image)
{
    struct firmware *firmware = (struct firmware *)plan->firmware;
    size_t tables = 0;
    BUG_ON(image->cpus > VCPUS_MAX);
    memset(firmware, 0, sizeof(*firmware));
    fill_madt(firmware, image);
    firmware->xsdt.tables[tables++] = ADDRESS_OF(madt);
    if (image->pc) {
        fill_dsdt(firmware, image);
        fill_fadt(firmware);
        firmware->xsdt.tables[tables++] = ADDRESS_OF(fadt);
    }
    if (image->pci) {
        fill_mcfg(firmware);
        firmware->xsdt.tables[tables++] = ADDRESS_OF(mcfg);
    }
    acpi_table_finish(&firmware->xsdt.header, "XSDT", 1,
                      sizeof(struct acpi_header) + tables * sizeof(uint64_t));
    firmware_rsdp(&firmware->rsdp);
    enum exit_code code = plan_add(plan, image,
                                   (struct load_record){.gpa = GUEST_FIRMWARE,
                                                        .bytes = firmware,
                                                        .size = sizeof(*firmware),
                                                        .extent = sizeof(*firmware),
                                                        .kind = LOAD_FIRMWARE});
    return code || !image->pc || image->td ? code : add_reset_code(plan, image);
}
