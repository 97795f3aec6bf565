/* SPDX-License-Identifier: MIT */
/*
 * A virtio console (virtio 1.2, section 5.3) with one port, whose window has a size. What the
 * driver sends is passed to a function as it comes. What is typed for the guest stays where it is
 * until the driver has provided buffers for it, and virtio_receive() copies it there, on one of the
 * VM's own CPUs.
 */
#pragma once

#include "dev/virtio.h"

#define VIRTIO_CONFIG_NO_LEGACY
#include <linux/virtio_console.h>

struct virtio_console {
    struct virtio virtio; /* at offset 0 */
    struct virtio_console_config config;

    /* Called with `context` and some bytes that the driver has sent. */
    void (*transmit)(void *context, const uint8_t *bytes, size_t count);

    /* Returns the next byte that was typed, or -1 if there is none; and whether there is one. */
    int (*take)(void *context);
    bool (*waits)(const void *context);

    /* Called when bytes wait and the driver may have buffers for them; virtio_receive() is called
     * later. */
    void (*wake)(void *context);

    void *context;
};

/* Initializes the console, whose window has no size yet. The caller has set virtio's dma, line and
 * busy, the functions and their context. */
void virtio_console_init(struct virtio_console *console);

/* Sets the size of the window. The driver is told if the size changes, and when it starts. */
void virtio_console_resize(struct virtio_console *console, uint16_t columns, uint16_t rows);
