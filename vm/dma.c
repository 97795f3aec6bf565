/* SPDX-License-Identifier: MIT */
#include "vm/dma.h"

#include "vm/vm.h"

static gpa_t dma_address(const struct vm *vm, uint64_t address)
{
    return GPA(vm->words.shared ? address | BIT(vm->words.shared) : address);
}

static int dma_from_guest(void *context, uint64_t address, void *buffer, size_t size)
{
    struct vm *vm = context;
    return guest_read(&vm->mmu, dma_address(vm, address), buffer, size, ACCESS_READ);
}

static int dma_to_guest(void *context, uint64_t address, const void *buffer, size_t size)
{
    struct vm *vm = context;
    return guest_write(&vm->mmu, dma_address(vm, address), buffer, size);
}

struct dma vm_dma(struct vm *vm)
{
    return (struct dma){dma_from_guest, dma_to_guest, vm};
}
