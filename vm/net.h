/* SPDX-License-Identifier: MIT */
/*
 * The network device of a VM. All these devices are attached to one switch, which is connected to
 * nothing else.
 *
 * A frame is copied twice. The CPU of the sender copies it from the sender's memory into the queue
 * of the receiver's port, and tells a vCPU of the receiver (ipi_send_frames()). The pCPU that runs
 * this vCPU copies the frame to the receiver's memory (units_receive()). So no CPU accesses the
 * memory of a VM for which it does not run, and sending takes the sender's time only.
 */
#pragma once

#include "dev/virtio_net.h"
#include "vm/virtio_unit.h"

struct net {
    struct virtio_net device;
    struct virtio_unit unit;
};

/* Sets the device's connections to the VM and to the switch, among them its MAC address, and
 * connects the transport. Called before virtio_net_init(). */
void net_connect(struct net *net, struct vm *vm);
