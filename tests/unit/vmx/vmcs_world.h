/* SPDX-License-Identifier: MIT */
/*
 * A VMCS for hosted tests: fields in an array, under the names by which the code under test reads
 * and writes them. That code is included as source after this header. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "vmx/vmcs.h"

static uint64_t vmcs[0x7000];

static inline uint64_t vmcs_get(uint32_t field)
{
    return vmcs[field];
}

static inline void vmcs_put(uint32_t field, uint64_t value)
{
    vmcs[field] = value;
}

#define vmread         vmcs_get
#define vmread_always  vmcs_get
#define vmwrite        vmcs_put
#define vmwrite_always vmcs_put
