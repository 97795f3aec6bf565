/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio.c. Pure. */
#include "dev/virtio_net.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

#include <linux/virtio_ids.h>

/* The numbers of the queues (section 5.1.2). */
#define RECEIVE  0u
#define TRANSMIT 1u

#define HEADER sizeof(struct virtio_net_hdr_v1)
_Static_assert(HEADER == 12, "virtio 1.2, section 5.1.6");

static struct virtio_net *net_of(struct virtio *virtio)
{
    return (struct virtio_net *)virtio;
}

/* Puts the next frame into the chain. A driver should provide buffers for a whole frame each
 * (section 5.1.6.3.1); a frame that does not fit is dropped, and the chain returned empty. */
static uint32_t net_receive(struct virtio_net *net, struct virtq *queue,
                            const struct virtq_chain *chain)
{
    size_t size = switch_take(&net->port, net->packet.frame), packet = HEADER + size;
    if (!size)
        return VIRTIO_NO_INPUT;
    net->virtio.work += (uint32_t)size;
    net->packet.header = (struct virtio_net_hdr_v1){.num_buffers = 1};
    if (packet > chain->bytes_to_write || !virtq_write(queue, chain, 0, &net->packet, packet))
        return 0;
    return (uint32_t)packet;
}

/* Sends the frame in the chain. A frame that is no Ethernet frame by its size is dropped. */
static void net_transmit(struct virtio_net *net, struct virtq *queue,
                         const struct virtq_chain *chain)
{
    uint64_t size = chain->bytes_to_read - HEADER;
    if (chain->bytes_to_read < HEADER) {
        virtq_break(queue, "a packet of %lu bytes; its header has %lu", chain->bytes_to_read,
                    HEADER);
        return;
    }
    if (size < FRAME_MIN || size > FRAME_MAX)
        return;
    if (!virtq_read(queue, chain, 0, &net->packet, chain->bytes_to_read))
        return;
    if (net->packet.header.flags || net->packet.header.gso_type) {
        virtq_break(queue, "a packet with flags %#x and GSO type %#x; no offload was negotiated",
                    net->packet.header.flags, net->packet.header.gso_type);
        return;
    }
    unsigned copies = 1 + switch_send(&net->port, net->packet.frame, size);
    net->virtio.work += copies * (uint32_t)size;
}

static uint32_t net_handle(struct virtio *virtio, struct virtq *queue,
                           const struct virtq_chain *chain)
{
    if (queue == &virtio->queues[RECEIVE])
        return net_receive(net_of(virtio), queue, chain);
    net_transmit(net_of(virtio), queue, chain);
    return 0;
}

static bool net_input_waits(const struct virtio *virtio)
{
    return switch_waits(&((const struct virtio_net *)virtio)->port);
}

/* The driver may have started or stopped the receive queue, or have added buffers to it. */
static void net_input_changed(struct virtio *virtio)
{
    struct switch_port *port = &net_of(virtio)->port;
    switch_open(port, virtio_accepts_input(virtio));
    if (switch_waits(port))
        port->wake(port->context);
}

static const struct virtio_ops net_ops = {.name = "virtio net",
                                          .id = VIRTIO_ID_NET,
                                          .queues = TRANSMIT + 1,
                                          .handle = net_handle,
                                          .input_changed = net_input_changed,
                                          .input_waits = net_input_waits};

int virtio_net_init(struct virtio_net *net)
{
    struct virtio *v = &net->virtio;
    net->config = (struct virtio_net_config){.status = VIRTIO_NET_S_LINK_UP};
    memcpy(net->config.mac, net->port.mac, MAC_SIZE);
    v->ops = &net_ops;
    v->config = &net->config;
    v->config_size = offsetof(struct virtio_net_config, max_virtqueue_pairs);
    v->features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS);
    int error = switch_attach(&net->port);
    if (error)
        log_error("virtio net: the switch has no more than %u ports", SWITCH_PORTS);
    else
        virtio_init(v);
    return error;
}

void virtio_net_destroy(struct virtio_net *net)
{
    switch_detach(&net->port);
}
