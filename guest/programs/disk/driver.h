/* SPDX-License-Identifier: MIT */
/* A small driver of the virtio disk, by the MMIO transport: its registers, its queue with one
 * request, and its interrupt. */
#pragma once

#include "guest/programs/rt/virtio.h"

#define CAPACITY CONFIG

#define INDIRECT_DESC BIT(28) /* feature */
#define SECTOR        512u
#define SIZE          32u /* size of the queue */

struct available {
    uint16_t flags, index, ring[SIZE], event;
} __attribute__((aligned(2)));
struct used {
    uint16_t flags, index;
    struct {
        uint32_t id, length;
    } ring[SIZE];
    uint16_t event;
} __attribute__((aligned(4)));

#define BUFFER 0x10000u /* bytes */

extern struct descriptor descriptors[SIZE];
extern volatile struct available available;
extern volatile struct used used;
extern volatile uint8_t status; /* of the last request */
extern uint8_t buffer[BUFFER];

/* Counted and collected by the interrupt's handler. */
extern volatile unsigned interrupts;
extern volatile uint32_t reasons;

uint32_t disk_reg(unsigned offset);
void disk_set_reg(unsigned offset, uint32_t value);

/* Resets the device, and starts it with these features of the lower half, and its queue empty. */
void disk_start(uint32_t features);

/* Enables the local APIC, and sends the disk's interrupt to this CPU. */
void disk_take_interrupts(void);

/* Fills in the descriptors of a request for the buffer. */
void disk_request(uint32_t type, uint64_t sector, uint32_t bytes);

/* Makes the request available `count` times. */
void disk_offer(unsigned count);
