/* SPDX-License-Identifier: MIT */
/*
 * The only functions that touch private bytes of a TD. Everything else, devices included, uses the
 * shared side. Addresses have no shared bit.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#include <stdbool.h>
#include <stddef.h>

struct mmu;
struct vm;

/* The state of a page of a TD's address space. Another vCPU may change it at any time. */
enum td_page_state {
    TD_PAGE_NONE,       /* no RAM: MMIO if it is accessed with the shared bit */
    TD_PAGE_SHARED,     /* shared memory */
    TD_PAGE_CONVERTING, /* on neither side, until another vCPU's MapGPA is complete */
    TD_PAGE_PENDING,    /* private, and not accepted; the page may not exist yet */
    TD_PAGE_BLOCKED,    /* private, and not usable: its removal has failed */
    TD_PAGE_ACCEPTED,   /* private, and accepted: the module's MAPPED */
};
enum td_page_state td_page_state(struct vm *vm, gpa_t gpa);

/* The name of a state, for messages: "PENDING". */
const char *td_page_state_name(enum td_page_state state);

/* Copies between a buffer and private memory: the instruction and the page tables of a TDCALL, the
 * data of a report or an RTMR; and a TDREPORT. Returns 0; -EFAULT if there is no memory at one of
 * the bytes; -EACCES if one of them is shared, PENDING or BLOCKED, or being converted. After an
 * error nothing may be used of the buffer, and part of the memory may have been written. */
int td_private_read(struct vm *vm, gpa_t gpa, void *buffer, size_t size) MUST_CHECK;
int td_private_write(struct vm *vm, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* PAGE.ACCEPT of the page of this level (0: 4 KiB, 1: 2 MiB), at an aligned address: returns a TDX
 * status, with the level in bits 31:0 if it is no success; TD_ACCEPT_RETRY if the instruction is to
 * be executed again, after another vCPU's conversion or after the page was provided; or
 * TD_ACCEPT_NONE if there is no private page to accept, so that the TD has to be stopped. */
#define TD_ACCEPT_RETRY (~0ull)
#define TD_ACCEPT_NONE  (~0ull - 1)
uint64_t td_accept(struct vm *vm, gpa_t gpa, unsigned level) MUST_CHECK;

/* MapGPA: converts up to `pages` pages from `gpa` on as mmu_convert() does. What becomes private is
 * PENDING until the TD accepts it. */
int64_t td_convert(struct vm *vm, gpa_t gpa, uint64_t pages, bool shared) MUST_CHECK;

/* Adds one page to the initial image, which becomes private and MAPPED: its MEM.PAGE.ADD record is
 * measured and, with `extend`, its contents too. Measuring these takes 170,000 instructions, so it
 * is done in pieces: -EINPROGRESS means that the next call is to be for the same page. Returns 0;
 * -EFAULT if there is no memory; -EEXIST if it was added before; -EPERM after td_finalise();
 * -ENOMEM. */
int td_add_page(struct vm *vm, gfn_t gfn, const void *content, bool extend) MUST_CHECK;

/* Measures a page that is being added; for struct external. */
void td_measure_page(struct mmu *mmu, gfn_t gfn, const void *content);

/* Ends the initial image: from now on vCPUs may run, and no page can be added. Returns 0, or -EPERM
 * if it was called before. */
int td_finalise(struct vm *vm) MUST_CHECK;
