/* SPDX-License-Identifier: MIT */
/*
 * A virtio network device (virtio 1.2, section 5.1) at a port of a switch (dev/switch.h). It has
 * one receive queue and one transmit queue, and no offloads: each chain holds one Ethernet frame
 * after a header of 12 bytes. The link is always up, and all frames that reach the port are
 * received.
 *
 * Frames that come for the guest wait in the port's queue until virtio_receive() copies them to the
 * guest's memory, on one of the VM's own CPUs. While the driver has not started the receive
 * queue, the port is closed.
 */
#pragma once

#include "dev/switch.h"
#include "dev/virtio.h"

#define VIRTIO_CONFIG_NO_LEGACY
#define VIRTIO_NET_NO_LEGACY
#include <linux/virtio_net.h>

struct virtio_net {
    struct virtio virtio; /* at offset 0 */
    struct virtio_net_config config;
    struct {
        struct virtio_net_hdr_v1 header;
        uint8_t frame[FRAME_MAX];
    } packet; /* the packet that is being copied */
    struct switch_port port;
};

/* Initializes a device and attaches its port. The caller has set virtio's dma, line and busy, and
 * the port's owner, mac, wake and context. `wake` is called, on any CPU, when frames wait in the
 * port and the driver may have buffers for them; virtio_receive() is called later. Returns 0,
 * or -ENOSPC after a message if the switch has no port left. */
int virtio_net_init(struct virtio_net *net) MUST_CHECK;

/* Detaches the port. When this returns, `wake` is not called any more. */
void virtio_net_destroy(struct virtio_net *net);
