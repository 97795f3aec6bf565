/* SPDX-License-Identifier: MIT */
/*
 * A table of all ways in which a guest can flush its TLB, with the exits that each one causes with
 * gva_cache=exits.
 */
#pragma once

#include "guest/programs/rt/rt.h"

struct flush {
    void (*run)(uint64_t va);
    unsigned exit;    /* the counter of its exits */
    unsigned exits;   /* the number of its exits with gva_cache=exits */
    bool also_global; /* flushes global pages too */
};

enum {
    FLUSH_INVLPG,
    FLUSH_MOV_CR3,
    FLUSH_CR4_PGE,
    FLUSH_INVPCID_0,
    FLUSH_INVPCID_1,
    FLUSH_INVPCID_2,
    FLUSH_INVPCID_3,
    FLUSHES,
};

extern const struct flush flushes[FLUSHES];

/* Whether flushes exit, as HC_CONFIG reports; false without the hypervisor. */
bool flushes_exit(void);
