/* SPDX-License-Identifier: MIT */
/*
 * What the boot shim of a TD is told: a page at GUEST_SHIM_PARAMETERS (vm/layout.h), whose address
 * the TD's vCPUs find in RCX. The page is part of the initial image and measured, so what is
 * written here is part of the TD's identity. tools/tdreport.py reads it, too.
 */
#pragma once

#include <stdint.h>

#define SHIM_MAGIC   0x4d49485356545045ull /* "EPTVSHIM" */
#define SHIM_VERSION 2u

#define SHIM_RANGES 8u
#define SHIM_ITEMS  24u

/* A range of guest-physical addresses. */
struct shim_range {
    uint64_t base, size; /* multiples of 4 KiB */
};

/* Bytes that the shim measures: RTMR number `rtmr` is extended by their SHA-384 digest. */
struct shim_item {
    uint64_t base, size;
    uint32_t rtmr, kind; /* enum load_kind; for tools only */
};

struct shim_parameters {
    uint64_t magic;
    uint32_t version, vcpus;
    uint64_t entry;     /* the kernel's 64-bit entry point */
    uint64_t zero_page; /* its address, for RSI */
    uint32_t range_count, item_count;
    struct shim_range ranges[SHIM_RANGES]; /* private memory, which the shim accepts */
    struct shim_item items[SHIM_ITEMS];    /* measured in this order; none with measure=0 */
};
