/* SPDX-License-Identifier: MIT */
/*
 * VMREAD and VMWRITE on the current VMCS. A failed access is a BUG, because the controls tell which
 * fields exist before any of them is accessed.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include "vmx/fields.h"

/* Prints which field VMREAD or VMWRITE could not access and stops the machine. */
NORETURN void vmcs_access_failed(uint32_t field, uint64_t value, bool write);

static inline uint64_t vmread(uint32_t field)
{
    uint64_t value;
    __asm__ volatile goto("vmread %1, %0\n\tjbe %l[failed]"
                          : "=r"(value)
                          : "r"((uint64_t)field)
                          : "cc"
                          : failed);
    return value;
failed:
    vmcs_access_failed(field, 0, false);
}

/* VMREAD and VMWRITE that cannot fail: for fields that exist on every CPU, between an exit and the
 * next entry, when a VMCS is current. */
static inline uint64_t vmread_always(uint32_t field)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

static inline void vmwrite_always(uint32_t field, uint64_t value)
{
    __asm__ volatile("vmwrite %1, %0" : : "r"((uint64_t)field), "r"(value) : "cc", "memory");
}

static inline void vmwrite(uint32_t field, uint64_t value)
{
    __asm__ volatile goto("vmwrite %1, %0\n\tjbe %l[failed]"
                          :
                          : "r"((uint64_t)field), "r"(value)
                          : "cc", "memory"
                          : failed);
    return;
failed:
    vmcs_access_failed(field, value, true);
}
