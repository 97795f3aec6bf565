/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio.c. Pure. */
#include "dev/virtio_console.h"

#include "lib/bits.h"

#include <linux/virtio_ids.h>

/* The numbers of the queues (section 5.3.2). */
#define RECEIVE  0u
#define TRANSMIT 1u

/* Bytes that are copied at once, and the approximate cost of a byte that is shown or was typed, in
 * bytes of work: each passes the locks of the transcript or of the input. */
#define PART      256u
#define BYTE_WORK 32u

static struct virtio_console *console_of(struct virtio *virtio)
{
    return (struct virtio_console *)virtio;
}

/* Puts the bytes that were typed into the chain, as far as they fit. */
static uint32_t console_receive(struct virtio_console *console, struct virtq *queue,
                                const struct virtq_chain *chain)
{
    uint8_t bytes[PART];
    uint32_t count = 0;
    int byte;
    if (!chain->bytes_to_write)
        return 0;
    while (count < PART && count < chain->bytes_to_write &&
           (byte = console->take(console->context)) >= 0)
        bytes[count++] = (uint8_t)byte;
    if (!count)
        return VIRTIO_NO_INPUT;
    console->virtio.work += count * BYTE_WORK;
    return virtq_write(queue, chain, 0, bytes, count) ? count : 0;
}

/* Shows the next part of the chain. A chain has up to 4 GiB, and may be another one each time. */
static uint32_t console_transmit(struct virtio_console *console, struct virtq *queue,
                                 const struct virtq_chain *chain)
{
    uint8_t bytes[PART];
    uint64_t size = chain->bytes_to_read, done = queue->handled;
    size_t part = done >= size ? 0 : size - done < PART ? size - done : PART;
    if (!virtq_read(queue, chain, done, bytes, part))
        return 0;
    if (part)
        console->transmit(console->context, bytes, part);
    console->virtio.work += (uint32_t)part * BYTE_WORK;
    queue->handled += part;
    return queue->handled < size ? VIRTIO_AGAIN : 0;
}

static uint32_t console_handle(struct virtio *virtio, struct virtq *queue,
                               const struct virtq_chain *chain)
{
    return queue == &virtio->queues[RECEIVE] ? console_receive(console_of(virtio), queue, chain)
                                             : console_transmit(console_of(virtio), queue, chain);
}

static bool console_input_waits(const struct virtio *virtio)
{
    const struct virtio_console *console = (const struct virtio_console *)virtio;
    return console->waits(console->context);
}

/* The driver may have started the receive queue, or have added buffers to it. */
static void console_input_changed(struct virtio *virtio)
{
    if (virtio_accepts_input(virtio) && console_input_waits(virtio))
        console_of(virtio)->wake(console_of(virtio)->context);
}

/* Linux' driver does not read the size when it starts, but only when it is told of a change. */
static void console_started(struct virtio *virtio)
{
    const struct virtio_console_config *config = &console_of(virtio)->config;
    if (config->cols && virtio->driver_features & BIT(VIRTIO_CONSOLE_F_SIZE))
        virtio_config_changed(virtio);
}

static const struct virtio_ops console_ops = {.name = "virtio console",
                                              .id = VIRTIO_ID_CONSOLE,
                                              .queues = TRANSMIT + 1,
                                              .handle = console_handle,
                                              .input_changed = console_input_changed,
                                              .input_waits = console_input_waits,
                                              .started = console_started};

void virtio_console_resize(struct virtio_console *console, uint16_t columns, uint16_t rows)
{
    struct virtio_console_config *config = &console->config;
    if (config->cols == columns && config->rows == rows)
        return;
    config->cols = columns;
    config->rows = rows;
    virtio_config_changed(&console->virtio);
}

void virtio_console_init(struct virtio_console *console)
{
    struct virtio *v = &console->virtio;
    console->config = (struct virtio_console_config){0};
    v->ops = &console_ops;
    v->config = &console->config;
    v->config_size = offsetof(struct virtio_console_config, max_nr_ports);
    v->features = BIT(VIRTIO_CONSOLE_F_SIZE);
    virtio_init(v);
}
