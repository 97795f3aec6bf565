/* SPDX-License-Identifier: MIT */
#include "vm/hvc.h"

#include "vm/ipi.h"
#include "vm/vm.h"

/* The UART's lock serialises what the guest sends by either device. */
static void hvc_transmit(void *context, const uint8_t *bytes, size_t count)
{
    struct vm *vm = context;
    spin_lock(&vm->locked[LOCKED_UART].lock);
    for (size_t i = 0; i < count; i++)
        console_put(&vm->console, bytes[i]);
    spin_unlock(&vm->locked[LOCKED_UART].lock);
}

static int hvc_take(void *context)
{
    struct vm *vm = context;
    return input_take(&vm->input);
}

static bool hvc_waits(const void *context)
{
    const struct vm *vm = context;
    return input_waits(&vm->input);
}

void hvc_connect(struct hvc *hvc, struct vm *vm)
{
    struct virtio_console *device = &hvc->device;
    unit_connect(&hvc->unit, vm, &device->virtio);
    device->transmit = hvc_transmit;
    device->take = hvc_take;
    device->waits = hvc_waits;
    device->wake = ipi_send_frames;
    device->context = vm;
}

void hvc_input_came(struct vm *vm)
{
    struct hvc *hvc = &vm->hvc;
    spin_lock(&hvc->unit.locked.lock);
    struct input_window window = input_window();
    virtio_console_resize(&hvc->device, window.columns, window.rows);
    bool wake = virtio_accepts_input(&hvc->device.virtio) && input_waits(&vm->input);
    spin_unlock(&hvc->unit.locked.lock);
    if (wake)
        ipi_send_frames(vm);
}
