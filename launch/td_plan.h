/* SPDX-License-Identifier: MIT */
/*
 * Adds the boot shim to a loader's plan, and divides the plan into the pages of a TD's initial
 * image. Pure.
 *
 * The image consists of the pages that hold contents of a record, in ascending order. The zeros
 * that follow a record's contents up to its extent are not part of it: accepting a page clears it,
 * and the boot shim accepts these pages. TDH.MR.EXTEND measures the pages of the shim and of its
 * parameters. It does not measure the other pages; the shim itself measures the parts of them that
 * matter.
 */
#pragma once

#include "launch/plan.h"

/* The RTMRs that the boot shim extends, and by what. */
#define RTMR_CONFIGURATION 0u /* the ACPI tables and the zero page */
#define RTMR_KERNEL        1u /* the kernel: its protected-mode part, or its segments */
#define RTMR_INPUT         2u /* the command line without its terminating zero, and the initrd */

/* Adds the boot shim and its parameters to a plan that starts a 64-bit kernel, and makes vCPUs
 * start in the shim. Returns EXIT_OK, or an error that has been logged. */
enum exit_code td_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* One page of the initial image. */
struct td_page {
    gfn_t gfn;
    const void *content; /* valid until the next call of td_next_page() for this plan */
    bool extend;         /* TDH.MR.EXTEND measures the contents */
};

/* Fills in the first page from page->gfn on that is part of the image. Returns false if there is
 * none. */
bool td_next_page(struct load_plan *plan, struct td_page *page) MUST_CHECK;
