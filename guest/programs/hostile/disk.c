/* SPDX-License-Identifier: MIT */
#include "guest/programs/hostile/disk.h"

#include "guest/programs/rt/apic.h"

uint8_t arena[PAGES][RT_PAGE] __attribute__((aligned(4096)));

void map_all(void)
{
    static const uint64_t devices[] = {VIRTIO, IOAPIC};
    for (unsigned i = 0; i < PAGES; i++)
        map_page(rt_pml4, TEST_VA + i * RT_PAGE, physical(i) | shared_bit(), PTE_P | PTE_W);
    for (unsigned i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        map_page(rt_pml4, device(devices[i]), devices[i] | shared_bit(), PTE_P | PTE_W);
    map_page(rt_pml4, APIC, APIC | shared_bit(), PTE_P | PTE_W);
    if (shared_bit())
        for (unsigned i = 0; i < PAGES; i++)
            map_gpa(physical(i) | shared_bit(), RT_PAGE);
}

void serial_port(void)
{
    outb(PORT_UART + 4, 0);
    outb(PORT_UART + 3, 0x80);
    outb(PORT_UART, 1);
    outb(PORT_UART + 1, 0);
    outb(PORT_UART + 3, 3);
    outb(PORT_UART + 2, 0);
    uart_init();
}

/* A request as the specification wants it. Returns the status of the disk, or 0xee. */
static uint8_t request(uint32_t type, uint32_t sector)
{
    volatile struct descriptor *d = place(DESCRIPTORS);
    volatile uint32_t *header = place(HEADERS);
    volatile uint16_t *available = place(AVAILABLE);
    volatile uint8_t *status = (volatile uint8_t *)header + 64;
    header[0] = type;
    header[2] = sector;
    header[3] = 0;
    *status = 0xee;
    d[0] = (struct descriptor){physical(HEADERS), 16, NEXT, 1};
    d[1] = (struct descriptor){physical(DATA), 512, (uint16_t)(NEXT | (type ? 0 : WRITE)), 2};
    d[2] = (struct descriptor){physical(HEADERS) + 64, 1, WRITE, 0};
    available[0] = 1;
    available[2 + available[1] % 16] = 0;
    available[1]++;
    set_reg(QUEUE_NOTIFY, 0);
    return *status;
}

bool disk_works(uint64_t seed)
{
    volatile uint64_t *data = place(DATA);
    for (unsigned i = 0; i < PAGES; i++) {
        hc_page(HC_UNTRACK, physical(i));
        for (unsigned at = 0; at < RT_PAGE; at += 8)
            *(volatile uint64_t *)((uint64_t)place(i) + at) = 0;
    }
    set_reg(STATUS, 0);
    set_reg(STATUS, 3);
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(DRIVER_HALF, half);
        set_reg(DRIVER_FEATURE, half ? 3 : 0);
    }
    set_reg(STATUS, 0xb);
    set_reg(QUEUE_SELECT, 0);
    set_reg(QUEUE_NUM, 16);
    static const unsigned parts[] = {QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE};
    for (unsigned i = 0; i < 3; i++) {
        set_reg(parts[i], (uint32_t)physical(i));
        set_reg(parts[i] + 4, (uint32_t)(physical(i) >> 32));
    }
    set_reg(QUEUE_READY, 1);
    set_reg(STATUS, STARTED);
    for (unsigned i = 0; i < 64; i++)
        data[i] = seed + i;
    bool right = reg(STATUS) == STARTED && request(1, 3) == 0;
    for (unsigned i = 0; i < 64; i++)
        data[i] = 0;
    right &= request(0, 3) == 0;
    for (unsigned i = 0; i < 64; i++)
        right &= data[i] == seed + i;
    return right && reg(STATUS) == STARTED;
}
