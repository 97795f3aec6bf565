/* SPDX-License-Identifier: MIT */
/* Finds the serial ports of PCI functions; see the header. Pure. */
#include "arch/x86/serial_card.h"

#include "arch/x86/host_port.h"
#include "lib/bits.h"

#define CLASS_SERIAL     0x0700u
#define CLASS_MULTIPORT  0x0702u
#define BARS             6u
#define PORT_SIZE        SERIAL_REGISTERS
#define CAPABILITIES     0x34u
#define CAPABILITIES_MAX 48u /* more do not fit into 256 bytes */
#define CAP_POWER        1u
#define CAP_POWER_STATE  4u /* offset of the register with the state, which is bits 1:0 */
#define POWER_STATE      0x3u
#define POWER_PME_STATUS 0x8000u /* a write of 1 clears it */
#define STATUS_HAS_CAPS  BIT(20)
#define POWER_UP_READS   20000u /* 10 ms; a read takes longer than half a microsecond */
#define VENDOR_INTEL     0x8086u

#define ID(vendor, device) ((uint32_t)(device) << 16 | (vendor))

/* Cards whose ports are not simply one after the other at I/O ports (as in Linux' 8250_pci.c and
 * 8250_exar.c). */
static const struct card {
    uint32_t id;
    bool io;
    unsigned first, step, ports; /* offsets in BAR 0 */
    uint32_t clock;
} cards[] = {
    {ID(0x1c00, 0x3253), true, 0xc0, 8, 2, SERIAL_CLOCK}, /* WCH CH382 */
    {ID(0x1c00, 0x3470), true, 0xc0, 8, 4, SERIAL_CLOCK}, /* WCH CH384 */
    {ID(0x13a8, 0x0152), false, 0, 0x200, 2, 14745600},   /* Exar XR17C152, 154 and 158 */
    {ID(0x13a8, 0x0154), false, 0, 0x200, 4, 14745600},
    {ID(0x13a8, 0x0158), false, 0, 0x200, 8, 14745600},
    {ID(0x13a8, 0x0352), false, 0, 0x400, 2, 125000000}, /* Exar XR17V352, 354 and 358 */
    {ID(0x13a8, 0x0354), false, 0, 0x400, 4, 125000000},
    {ID(0x13a8, 0x0358), false, 0, 0x400, 8, 125000000},
};

/* The device numbers of UARTs of Intel's LPSS that are PCI functions, by the clock that feeds them
 * (as in Linux' intel-lpss-pci.c). */
static const uint16_t lpss_120_mhz[] = {
    0x02a8, 0x02a9, 0x02c7, /* Comet Lake-LP */
    0x34a8, 0x34a9, 0x34c7, /* Ice Lake-LP */
    0x4da8, 0x4da9, 0x4dc7, /* Jasper Lake */
    0x9d27, 0x9d28, 0x9d66, /* Sunrise Point-LP */
    0x9da8, 0x9da9, 0x9dc7, /* Cannon Lake-LP */
    0xa127, 0xa128, 0xa166, /* Sunrise Point-H */
    0xa2a7, 0xa2a8, 0xa2e6, /* Kaby Lake-H */
    0xa328, 0xa329, 0xa347, /* Cannon Lake-H */
};
static const uint16_t lpss_100_mhz[] = {
    0x31bc, 0x31be, 0x31c0, 0x31ee, /* Gemini Lake */
    0x4b28, 0x4b29, 0x4b4d,         /* Elkhart Lake */
    0x51a8, 0x51a9, 0x51c7,         /* Alder Lake-P */
    0x54a8, 0x54a9, 0x54c7,         /* Alder Lake-N */
    0x5abc, 0x5abe, 0x5ac0, 0x5aee, /* Apollo Lake */
    0x7a28, 0x7a29, 0x7a5c, 0x7a7e, /* Raptor Lake-S */
    0x7aa8, 0x7aa9, 0x7adc, 0x7afe, /* Alder Lake-S */
    0xa0a8, 0xa0a9, 0xa0c7,         /* Tiger Lake-LP */
};

static bool is_listed(const uint16_t *list, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (id == ID(VENDOR_INTEL, list[i]))
            return true;
    return false;
}

bool serial_card_is_lpss(struct host_pci_function at)
{
    uint32_t id = host_pci_read(at, HOST_PCI_ID);
    return is_listed(lpss_120_mhz, ARRAY_SIZE(lpss_120_mhz), id) ||
           is_listed(lpss_100_mhz, ARRAY_SIZE(lpss_100_mhz), id);
}

bool serial_card_by_class(struct host_pci_function at)
{
    uint32_t class = host_pci_read(at, HOST_PCI_CLASS) >> 16;
    return class == CLASS_SERIAL || class == CLASS_MULTIPORT;
}

/* ---- Waking a function ----------------------------------------------------------------------- */

/* Functions that the firmware does not use may be in a low-power state, in which they answer to
 * nothing but configuration accesses (PCI Power Management 1.2, 3.2). */
static void power_up(struct host_pci_function at)
{
    unsigned next = host_pci_read(at, CAPABILITIES) & 0xfc;
    if (!(host_pci_read(at, HOST_PCI_COMMAND) & STATUS_HAS_CAPS))
        return;
    for (unsigned i = 0; next && i < CAPABILITIES_MAX; i++) {
        uint32_t head = host_pci_read(at, next);
        if ((head & 0xff) == CAP_POWER) {
            uint32_t state = host_pci_read(at, next + CAP_POWER_STATE);
            if (!(state & POWER_STATE))
                return;
            host_pci_write(at, next + CAP_POWER_STATE, state & ~(POWER_STATE | POWER_PME_STATUS));
            for (unsigned reads = 0; reads < POWER_UP_READS; reads++)
                (void)host_pci_read(at, HOST_PCI_ID);
            return;
        }
        next = head >> 8 & 0xfc;
    }
}

static void decode(struct host_pci_function at, bool io)
{
    uint32_t command = host_pci_read(at, HOST_PCI_COMMAND) & 0xffff;
    host_pci_write(at, HOST_PCI_COMMAND,
                   command | (io ? HOST_PCI_COMMAND_IO : HOST_PCI_COMMAND_MEMORY));
}

#define LPSS_CLOCK             0x200u
#define LPSS_RESETS            0x204u
#define LPSS_RUNS              0x3u
#define LPSS_CLOCK_ON          BIT(0)
#define LPSS_CLOCK_UPDATE      BIT(31)
#define LPSS_CLOCK_RATIO(m, n) ((uint32_t)(m) << 1 | (uint32_t)(n) << 16) /* times m / n */

/* As coreboot's soc/intel/common/block/lpss does. The ratios make 1.8432 MHz. */
void lpss_wake(struct host_pci_function at, volatile void *registers)
{
    volatile char *clock = (volatile char *)registers + LPSS_CLOCK,
                  *resets = (volatile char *)registers + LPSS_RESETS;
    bool fast = is_listed(lpss_120_mhz, ARRAY_SIZE(lpss_120_mhz), host_pci_read(at, HOST_PCI_ID));
    uint32_t ratio = fast ? LPSS_CLOCK_RATIO(48, 3125) : LPSS_CLOCK_RATIO(288, 15625);
    host_register_write(resets, 4, host_register_read(resets, 4) | LPSS_RUNS);
    host_register_write(clock, 4, ratio);
    host_register_write(clock, 4, ratio | (uint32_t)(LPSS_CLOCK_ON | LPSS_CLOCK_UPDATE));
}

/* ---- Where the ports are --------------------------------------------------------------------- */

static const char no_such_port[] = "it has no such port";
static const char no_address[] = "the firmware has given it no address";

static const char *listed_place(struct host_pci_function at, const struct card *card,
                                unsigned number, struct serial_place *place)
{
    struct host_pci_bar bar;
    uint64_t offset = card->first + (uint64_t)number * card->step;
    if (!host_pci_bar(at, 0, &bar) || bar.io != card->io || number >= card->ports ||
        offset + PORT_SIZE > bar.size)
        return no_such_port;
    *place = (struct serial_place){.memory = !bar.io,
                                   .address = bar.base + offset,
                                   .stride = 1,
                                   .width = 1,
                                   .clock = card->clock,
                                   .baud = SERIAL_BAUD};
    return bar.base ? NULL : no_address;
}

static const char *lpss_place(struct host_pci_function at, unsigned number,
                              struct serial_place *place)
{
    struct host_pci_bar bar;
    if (number || !host_pci_bar(at, 0, &bar) || bar.io || bar.size < LPSS_SIZE)
        return no_such_port;
    *place = (struct serial_place){.memory = true,
                                   .address = bar.base,
                                   .stride = 4,
                                   .width = 4,
                                   .clock = SERIAL_CLOCK,
                                   .baud = SERIAL_BAUD};
    return bar.base ? NULL : no_address;
}

/* Ports of eight registers, one after the other in all BARs that are I/O ports. */
static const char *plain_place(struct host_pci_function at, unsigned number,
                               struct serial_place *place)
{
    const char *problem = "the order of its ports in memory is not known; name one of them with "
                          "serial=mmio:ADDRESS";
    struct host_pci_bar bar;
    for (unsigned index = 0; index < BARS; index += bar.consumed) {
        if (!host_pci_bar(at, index, &bar) || !bar.io)
            continue;
        problem = no_such_port;
        uint64_t ports = bar.size / PORT_SIZE;
        if (number < ports) {
            *place = (struct serial_place){.address = bar.base + number * PORT_SIZE,
                                           .stride = 1,
                                           .width = 1,
                                           .clock = SERIAL_CLOCK,
                                           .baud = SERIAL_BAUD};
            return bar.base ? NULL : no_address;
        }
        number -= (unsigned)ports;
    }
    return problem;
}

static const struct card *find_card(struct host_pci_function at)
{
    uint32_t id = host_pci_read(at, HOST_PCI_ID);
    for (unsigned i = 0; i < ARRAY_SIZE(cards); i++)
        if (cards[i].id == id)
            return &cards[i];
    return NULL;
}

const char *serial_card_place(struct host_pci_function at, unsigned number,
                              struct serial_place *place)
{
    const struct card *card = find_card(at);
    bool lpss = serial_card_is_lpss(at);
    if (!host_pci_reaches(at))
        return at.segment ? "ACPI's MCFG has no usable entry for its segment and bus, and only "
                            "segment 0000 can be reached without one"
                          : "the machine has no ports for PCI's configuration, and ACPI's MCFG no "
                            "usable entry for its bus";
    if (host_pci_read(at, HOST_PCI_ID) == UINT32_MAX)
        return "there is no such PCI function";
    if (!card && !lpss && !serial_card_by_class(at))
        return "it is no serial port (not of class 07 00 or 07 02, and no known UART)";
    power_up(at);
    const char *problem = card   ? listed_place(at, card, number, place)
                          : lpss ? lpss_place(at, number, place)
                                 : plain_place(at, number, place);
    if (!problem)
        decode(at, !place->memory);
    return problem;
}
