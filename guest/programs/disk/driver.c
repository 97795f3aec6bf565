/* SPDX-License-Identifier: MIT */
#include "guest/programs/disk/driver.h"

#include "guest/programs/rt/apic.h"

#define VIRTIO 0xfe200000u
#define PIN    16u
#define VECTOR 0x63
#define IOAPIC 0xfec00000u
#define LEVEL  BIT(15)

struct descriptor descriptors[SIZE] __attribute__((aligned(16)));
volatile struct available available;
volatile struct used used;
volatile uint8_t status;
uint8_t buffer[BUFFER] __attribute__((aligned(4096)));
volatile unsigned interrupts;
volatile uint32_t reasons;

static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;

uint32_t disk_reg(unsigned offset)
{
    return read32(VIRTIO + offset);
}

void disk_set_reg(unsigned offset, uint32_t value)
{
    write32(VIRTIO + offset, value);
}

static void place(unsigned offset, const volatile void *part)
{
    disk_set_reg(offset, (uint32_t)(uintptr_t)part);
    disk_set_reg(offset + 4, 0);
}

void disk_start(uint32_t features)
{
    disk_set_reg(STATUS, 0);
    disk_set_reg(STATUS, 3);
    disk_set_reg(DRIVER_HALF, 0);
    disk_set_reg(DRIVER_FEATURE, features);
    disk_set_reg(DRIVER_HALF, 1);
    disk_set_reg(DRIVER_FEATURE, 3); /* VERSION_1 and ACCESS_PLATFORM */
    disk_set_reg(STATUS, 0xb);
    available.index = used.index = 0;
    disk_set_reg(QUEUE_NUM, SIZE);
    place(QUEUE_DESC, descriptors);
    place(QUEUE_DRIVER, &available);
    place(QUEUE_DEVICE, &used);
    disk_set_reg(QUEUE_READY, 1);
    disk_set_reg(STATUS, STARTED);
}

static void take(struct frame *frame)
{
    (void)frame;
    uint32_t pending = disk_reg(INTERRUPT);
    reasons |= pending;
    interrupts++;
    disk_set_reg(INTERRUPT_ACK, pending);
    apic_write(APIC_REG_EOI, 0);
}

void disk_take_interrupts(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR, take);
    write32(IOAPIC, 0x10 + 2 * PIN);
    write32(IOAPIC + 0x10, LEVEL | VECTOR);
}

void disk_request(uint32_t type, uint64_t sector, uint32_t bytes)
{
    header.type = type;
    header.sector = sector;
    status = 0xee;
    descriptors[0] = (struct descriptor){(uintptr_t)&header, sizeof(header), NEXT, 1};
    descriptors[1] =
        (struct descriptor){(uintptr_t)buffer, bytes, (uint16_t)(NEXT | (type ? 0 : WRITE)), 2};
    descriptors[2] = (struct descriptor){(uintptr_t)&status, 1, WRITE, 0};
}

void disk_offer(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        available.ring[(available.index + i) % SIZE] = 0;
    __asm__ volatile("" : : : "memory");
    available.index = (uint16_t)(available.index + count);
}
