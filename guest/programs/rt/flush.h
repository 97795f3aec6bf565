/* SPDX-License-Identifier: MIT */
/*
 * The ways in which a guest flushes its TLB, as one table for the programs that try them all, with
 * the exits that each of them makes when the hypervisor asked for these (gva_cache=exits).
 */
#pragma once

#include "guest/programs/rt/rt.h"

struct flush {
    void (*run)(uint64_t va);
    unsigned exit;    /* the counter of its exits, */
    unsigned exits;   /* and how many it makes in gva_cache=exits */
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

/* Whether flushes exit, by the hypervisor's own word; false without it. */
bool flushes_exit(void);
