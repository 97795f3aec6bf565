/* SPDX-License-Identifier: MIT */
/* What Tab completes: the names of commands, and where a command takes them, of VMs and vCPUs. */
#pragma once

#include "lib/types.h"

#define COMPLETION_WORDS 64u
#define COMPLETION_WIDTH 48u

struct completion {
    unsigned count;
    char words[COMPLETION_WORDS][COMPLETION_WIDTH];
};

/* Collects what word `number` of the line may be. */
void completion_begin(struct completion *completion, const char *line, unsigned number);

/* A candidate for editor_complete(); `completion` is a struct completion. */
const char *completion_word(void *completion, unsigned index);
