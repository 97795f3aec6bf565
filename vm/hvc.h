/* SPDX-License-Identifier: MIT */
/*
 * The virtio console of a VM, which Linux calls /dev/hvc0. What the guest sends to it goes where
 * the output of its UART goes, and what a person types for the VM goes to it instead of the UART.
 *
 * A typed byte waits in the VM's ring (vm/input.h) until one of its vCPUs receives it
 * (units_receive()), because the CPU that polls the port may run another VM.
 */
#pragma once

#include "dev/virtio_console.h"
#include "vm/virtio_unit.h"

struct hvc {
    struct virtio_console device;
    struct virtio_unit unit;
};

/* Sets the console's connections to the VM. Called before virtio_console_init(). */
void hvc_connect(struct hvc *hvc, struct vm *vm);

/* Called after the VM's ring has got bytes, or the window another size, on any CPU. */
void hvc_input_came(struct vm *vm);
