/* SPDX-License-Identifier: MIT */
/*
 * The guests among the boot modules, and whose turn it is to get a VM: they begin in their order,
 * as many at a time as the word parallel= allows. A guest whose VM finds too little memory waits
 * for another VM to end, and a guest that has ended may begin again. Shared by the pCPUs that run
 * guests: any of them may call the functions. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "monitor/start.h"
#include "vm/vm.h"

struct boot_info;
struct transcript;

/* A guest. */
struct entry {
    unsigned number;        /* in the KTAP report, from 1 */
    unsigned module, extra; /* index of its module, and number of modules after it that it owns */
    unsigned finished;      /* VMs that had ended at the last attempt to create the VM */
    bool last_chance;       /* at that time, no other VM existed that could return memory */
    unsigned run;           /* 1, or more if it has been started again */
    char name[VM_NAME_SIZE];
    struct transcript *out;
};

/* Called once. At most `limit` VMs exist at a time. Returns the number of guests. */
unsigned pool_begin(const struct boot_info *info, unsigned limit);

/* Takes the next guest to create. Returns false if there is none, or if it has to wait. */
bool pool_take(struct entry *entry) MUST_CHECK;

/* The guest waits for memory. */
void pool_put_off(const struct entry *entry);

/* Called when the guest's report is complete and its resources have been freed. Returns true if no
 * guest is left, as pool_is_empty() does. */
bool pool_finish(const struct entry *entry);
bool pool_is_empty(void);

/* Makes the guest with this number or name the next one to create, if it has ended. Fills in
 * *answer in any case. */
void pool_start_again(const char *which, struct start_answer *answer);
