/*
 * A VMCS for hosted tests: fields in an array, read and written by the names that the code under
 * test uses. That is included as source behind this header. Include it in one file.
 */
#pragma once

#include "vmx/vmcs.h"

static uint64_t vmcs[0x7000];

static inline uint64_t hosted_vmread(uint32_t field)
{
    return vmcs[field];
}

static inline void hosted_vmwrite(uint32_t field, uint64_t value)
{
    vmcs[field] = value;
}

#define vmread         hosted_vmread
#define vmread_always  hosted_vmread
#define vmwrite        hosted_vmwrite
#define vmwrite_always hosted_vmwrite
