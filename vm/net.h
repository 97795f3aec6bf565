/* SPDX-License-Identifier: MIT */
/*
 * The network device of a VM: the virtio device, its MMIO transport, and the wrapper with their
 * lock. All these devices are attached to one switch, which is connected to nothing else.
 *
 * A frame is copied twice. The CPU of the sender copies it from the sender's memory into the queue
 * of the receiver's port, and tells a vCPU of the receiver (ipi_send_frames()). The pCPU that runs
 * this vCPU copies the frame to the receiver's memory (net_receive()). So no CPU accesses the
 * memory of a VM for which it does not run.
 *
 * Sending takes the sender's time only. Receiving takes the receiver's time, whenever others send.
 * Therefore a vCPU that has received a piece does not receive again before four times the time that
 * the piece took has passed: beside its exits, a flood takes at most a fifth of its victim's time.
 */
#pragma once

#include "dev/locked.h"
#include "dev/virtio_mmio.h"
#include "dev/virtio_net.h"

struct vcpu;
struct vm;

struct net {
    struct virtio_net device;
    struct virtio_mmio mmio;
    struct locked_device locked;
};

/* Sets the device's connections to the VM and to the switch, among them its MAC address, and
 * connects the transport. Called before virtio_net_init(). */
void net_connect(struct net *net, struct vm *vm);

/* Copies a piece of the frames that wait for the VM to its memory. Called on the pCPU that runs the
 * vCPU, within an epoch, at the time vcpu->frames_at; sets it to the time of the next call. */
void net_receive(struct vcpu *vcpu);
