/* SPDX-License-Identifier: MIT */
#include "launch/bios.h"

#include "guest/abi.h"
#include "lib/bits.h"
#include "vm/layout.h"

/* ---- The BIOS data area ---------------------------------------------------------------------- */

/* There is no extended BIOS data area: its segment, at 0x40e, is 0, and base memory ends where RAM
 * does. */
#define BDA      0x400u
#define BDA_SIZE 0x100u

#define EQUIPMENT_FPU    BIT(1)
#define EQUIPMENT_80X25  BIT(5) /* a colour adapter with 80 columns */
#define EQUIPMENT_SERIAL BIT(9) /* the number of serial ports is 1 */

static void put(uint8_t *page, unsigned address, unsigned value)
{
    page[address] = (uint8_t)value;
    page[address + 1] = (uint8_t)(value >> 8);
}

static void fill_bda(uint8_t *page, const struct guest_image *image)
{
    static const struct {
        uint16_t address, value;
    } words[] = {
        {0x400, PORT_UART},
        {0x410, EQUIPMENT_FPU | EQUIPMENT_80X25 | EQUIPMENT_SERIAL},
        {0x449, 3 | 80 << 8}, /* text mode 3 in 8 bits, and the columns */
        {0x44c, 0x1000},      /* bytes of a page of text */
        {0x460, 0x0607},      /* first and last line of the cursor */
        {0x463, PORT_CRTC},
        {0x484, 24 | 16 << 8}, /* rows less 1, and the height of a character */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        put(page, words[i].address, words[i].value);
    put(page, 0x413, (unsigned)(image->ram[0].size >> 10));
}

/* ---- The vectors of real mode ---------------------------------------------------------------- */

static const uint8_t handler[] = {
    0xb4, 0x86,       /* mov $0x86, %ah */
    0xf9,             /* stc */
    0xca, 0x02, 0x00, /* lret $2: keeps CF */
};

#define VECTORS         256u
#define HANDLER         (GUEST_MP + 0x800)
#define HANDLER_SEGMENT 0xf000u

static void fill_vectors(uint8_t *page)
{
    for (unsigned i = 0; i < VECTORS; i++) {
        put(page, 4 * i, HANDLER - 16 * HANDLER_SEGMENT);
        put(page, 4 * i + 2, HANDLER_SEGMENT);
    }
}

/* ---- The MultiProcessor Specification -------------------------------------------------------- */

struct mp_pointer {
    char signature[4]; /* "_MP_" */
    uint32_t table;
    uint8_t paragraphs, revision, checksum;
    uint8_t features[5]; /* all 0: there is a table, and virtual wire mode is by LINT0 */
} __attribute__((packed));
_Static_assert(sizeof(struct mp_pointer) == 16, "MP Specification 1.4, 4.1");

struct mp_header {
    char signature[4]; /* "PCMP" */
    uint16_t length;
    uint8_t revision, checksum;
    char oem[8], product[12];
    uint32_t oem_table;
    uint16_t oem_size, entries;
    uint32_t lapic;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct mp_header) == 44, "MP Specification 1.4, 4.2");

struct mp_cpu {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
} __attribute__((packed));
_Static_assert(sizeof(struct mp_cpu) == 20, "MP Specification 1.4, 4.3.1");

struct mp_bus {
    uint8_t type, id;
    char name[6];
} __attribute__((packed));

struct mp_ioapic {
    uint8_t type, id, version, flags;
    uint32_t address;
} __attribute__((packed));

/* An interrupt of a bus at a pin of the I/O APIC, or a local one at a LINT pin. */
struct mp_interrupt {
    uint8_t type, kind;
    uint16_t flags; /* 0: polarity and trigger mode as the bus has them */
    uint8_t bus, irq, apic, pin;
} __attribute__((packed));
_Static_assert(sizeof(struct mp_bus) == 8 && sizeof(struct mp_ioapic) == 8 &&
                   sizeof(struct mp_interrupt) == 8,
               "MP Specification 1.4, 4.3");

enum { MP_CPU, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL };
enum { MP_INT, MP_NMI, MP_SMI, MP_EXTINT };

#define MP_REVISION    4
#define CPU_ENABLED    BIT(0)
#define CPU_BOOTSTRAP  BIT(1)
#define IOAPIC_ENABLED BIT(0)
#define LAPIC_VERSION  0x14
#define IOAPIC_VERSION 0x20
#define ALL_APICS      0xff
#define ISA_IRQS       16u

struct mp_tables {
    struct mp_pointer pointer;
    struct mp_header header;
    uint8_t entries[VCPUS_MAX * sizeof(struct mp_cpu) + sizeof(struct mp_bus) +
                    sizeof(struct mp_ioapic) + (ISA_IRQS + 2) * sizeof(struct mp_interrupt)];
} __attribute__((packed));
_Static_assert(BDA + BDA_SIZE + sizeof(struct mp_tables) <= sizeof(((struct load_plan *)0)->bios),
               "one page");
_Static_assert(sizeof(struct mp_tables) <= HANDLER - GUEST_MP, "the handler lies behind");

static uint8_t mp_checksum(const void *table, size_t size)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

/* Adds an entry behind those that are there. */
static void add_entry(struct mp_tables *mp, const void *entry, size_t size)
{
    memcpy((uint8_t *)&mp->header + mp->header.length, entry, size);
    mp->header.length = (uint16_t)(mp->header.length + size);
    mp->header.entries++;
}

static void add_cpus(struct mp_tables *mp, const struct guest_image *image)
{
    for (unsigned i = 0; i < image->cpus; i++) {
        const struct mp_cpu cpu = {.type = MP_CPU,
                                   .apic_id = (uint8_t)i,
                                   .apic_version = LAPIC_VERSION,
                                   .flags = CPU_ENABLED | (i ? 0 : CPU_BOOTSTRAP)};
        add_entry(mp, &cpu, sizeof(cpu));
    }
}

/* IRQ 0 is at pin LINE_PIT, and the output of the 8259s, ExtINT, at pin LINE_PIC. */
static void add_interrupts(struct mp_tables *mp)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        if (irq == LINE_PIT)
            continue;
        const struct mp_interrupt interrupt = {
            .type = MP_INTERRUPT, .irq = (uint8_t)irq, .pin = (uint8_t)(irq ? irq : LINE_PIT)};
        add_entry(mp, &interrupt, sizeof(interrupt));
    }
    const struct mp_interrupt others[] = {
        {.type = MP_INTERRUPT, .kind = MP_EXTINT, .pin = LINE_PIC},
        {.type = MP_LOCAL, .kind = MP_EXTINT, .pin = 0},
        {.type = MP_LOCAL, .kind = MP_NMI, .apic = ALL_APICS, .pin = 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        add_entry(mp, &others[i], sizeof(others[i]));
}

static void fill_mp(struct mp_tables *mp, const struct guest_image *image)
{
    const struct mp_bus bus = {.type = MP_BUS, .name = {'I', 'S', 'A', ' ', ' ', ' '}};
    const struct mp_ioapic ioapic = {.type = MP_IOAPIC,
                                     .version = IOAPIC_VERSION,
                                     .flags = IOAPIC_ENABLED,
                                     .address = GUEST_IOAPIC};
    mp->pointer = (struct mp_pointer){.signature = {'_', 'M', 'P', '_'},
                                      .table = GUEST_MP + sizeof(struct mp_pointer),
                                      .paragraphs = 1,
                                      .revision = MP_REVISION};
    mp->header = (struct mp_header){.signature = {'P', 'C', 'M', 'P'},
                                    .length = sizeof(struct mp_header),
                                    .revision = MP_REVISION,
                                    .lapic = GUEST_LAPIC};
    memcpy(mp->header.oem, "EPTVISOR", sizeof(mp->header.oem));
    memcpy(mp->header.product, "VM          ", sizeof(mp->header.product));
    add_cpus(mp, image);
    add_entry(mp, &bus, sizeof(bus));
    add_entry(mp, &ioapic, sizeof(ioapic));
    add_interrupts(mp);
    mp->pointer.checksum = mp_checksum(&mp->pointer, sizeof(mp->pointer));
    mp->header.checksum = mp_checksum(&mp->header, mp->header.length);
}

/* ---- All of it ------------------------------------------------------------------------------- */

static enum exit_code add(struct load_plan *plan, const struct guest_image *image, uint64_t gpa,
                          const void *bytes, uint64_t size)
{
    return plan_add(
        plan, image,
        (struct load_record){
            .gpa = gpa, .bytes = bytes, .size = size, .extent = size, .kind = LOAD_BIOS});
}

enum exit_code bios_plan(struct load_plan *plan, const struct guest_image *image)
{
    struct mp_tables *mp = (struct mp_tables *)(plan->bios + BDA + BDA_SIZE);
    memset(plan->bios, 0, sizeof(plan->bios));
    fill_vectors(plan->bios);
    fill_bda(plan->bios, image);
    fill_mp(mp, image);
    enum exit_code code = add(plan, image, 0, plan->bios, BDA + BDA_SIZE);
    if (!code)
        code = add(plan, image, GUEST_MP, mp, sizeof(*mp));
    return code ? code : add(plan, image, HANDLER, handler, sizeof(handler));
}
