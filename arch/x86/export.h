/* SPDX-License-Identifier: MIT */
/*
 * The export channel: binary data leave the machine in frames while it runs, for tools on the
 * computer that watches it. The word `export=` on the command line chooses the device. Bochs writes
 * what it receives on its debug port, 0xe9, to its standard output, among its own messages, and
 * QEMU into a file (-debugcon), so a reader finds the frames by their first bytes and their
 * checksum (tools/harness/frames.py).
 *
 *   offset  size
 *        0     4   the bytes e9 45 50 54
 *        4     4   CRC-32, as in zlib, of everything that follows
 *        8     1   kind: what the data are
 *        9     1   EXPORT_VERSION
 *       10     2   size of the data, at most EXPORT_MAX
 *       12     4   number of the frame, from 0
 *       16         the data
 *
 * Numbers are little-endian. Nobody waits for the channel: a frame that finds another CPU writing,
 * or not enough room in the queue before the device, is refused. What the device does not take at
 * once is sent in pieces by pCPUs that have nothing more important to do. Pure;
 * arch/x86/export_device.h has the devices.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT_VERSION 1u
#define EXPORT_MAX     1024u /* bytes of data in a frame */
#define EXPORT_MAGIC   0x545045e9u

enum export_kind {
    EXPORT_TEXT = 1, /* lines that describe the machine and what follows (vm/trace.h) */
    EXPORT_EVENTS,   /* trace events of one pCPU (lib/trace_export.h) */
    EXPORT_MAP,      /* a picture of a VM's EPT */
};

struct export_frame {
    uint32_t magic, crc;
    uint8_t kind, version;
    uint16_t size;
    uint32_t number;
};
_Static_assert(sizeof(struct export_frame) == 16, "no padding leaves the machine");

struct export_device {
    /* Takes the first of these bytes, as many as it can without waiting; returns how many. */
    size_t (*take)(const uint8_t *bytes, size_t size);
};

/* Opens the channel, once, while only the boot CPU runs. The device must stay. */
void export_open(const struct export_device *device);
bool export_is_open(void);

/* Puts a frame into the queue, and gives the device what it takes at once. Any CPU may call this,
 * with any lock held, but not an NMI handler; it takes about 15 instructions for each byte. Returns
 * false if the channel is not open or the frame was refused: the caller may try the same data again
 * later. */
bool export_bytes(uint8_t kind, const void *data, size_t size);

/* Gives the device more of the queue. Returns true if some of it is left. */
bool export_send(void);
uint64_t export_waits(void); /* bytes in the queue */
