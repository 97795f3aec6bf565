/* SPDX-License-Identifier: MIT */
/* What drivers of virtio devices share: the registers of the MMIO transport (virtio 1.2, table 4.1)
 * and the descriptors of a queue. */
#pragma once

#include "guest/programs/rt/rt.h"

#define MAGIC          0x000u
#define VERSION        0x004u
#define DEVICE_ID      0x008u
#define DRIVER_FEATURE 0x020u
#define DRIVER_HALF    0x024u
#define QUEUE_SELECT   0x030u
#define QUEUE_NUM_MAX  0x034u
#define QUEUE_NUM      0x038u
#define QUEUE_READY    0x044u
#define QUEUE_NOTIFY   0x050u
#define INTERRUPT      0x060u
#define INTERRUPT_ACK  0x064u
#define STATUS         0x070u
#define QUEUE_DESC     0x080u
#define QUEUE_DRIVER   0x090u
#define QUEUE_DEVICE   0x0a0u
#define CONFIG         0x100u
#define REGISTERS      0x200u /* bytes */

#define STARTED     0xfu /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */
#define NEEDS_RESET 0x40u

#define NO_INTERRUPT 1u /* flag of the ring of available buffers */

/* Flags of a descriptor. */
#define NEXT     1u
#define WRITE    2u
#define INDIRECT 4u

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
