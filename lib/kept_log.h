/* SPDX-License-Identifier: MIT */
/*
 * The log in RAM that a warm reset does not clear: written in one boot, found by the next one, as
 * Linux' pstore does with ramoops. Pure; arch/x86/kept_log.h says where it lies.
 *
 * There are two banks. A boot writes into the one that does not hold the log of the boot before it,
 * so that log is still complete if the machine is reset again while it is being printed. A bank is
 * a ring of records. Each record has a checksum of its own, because firmware and boot loaders may
 * have used a part of the RAM: what they have left is still shown. All of it is untrusted.
 *
 * A record is valid at every moment: text is appended first, and one store then changes checksum,
 * length and state.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEPT_BANKS   2u
#define KEPT_RECORDS 64u
#define KEPT_TEXT    488u

struct kept_record {
    uint64_t magic;
    uint32_t boot;   /* counts the boots, and tells this one's records from older ones */
    uint32_t number; /* counts the records of a boot: its position in the ring */
    uint64_t seal;   /* checksum, length, and how the boot ended; see the source */
    char text[KEPT_TEXT];
};

struct kept_area {
    struct kept_record banks[KEPT_BANKS][KEPT_RECORDS];
};

/* The log of an earlier boot. Its newest records are first..last. */
struct kept_found {
    const struct kept_record *bank; /* NULL: there is none */
    uint64_t address;               /* of the bank, for messages about damaged records */
    uint32_t boot, first, last;
    bool ended;    /* the boot came to its EXIT line */
    unsigned code; /* that line's code */
};

/* The log of this boot. */
struct kept_log {
    struct kept_record *bank;
    uint32_t boot, number;
    size_t length; /* of the record's text */
    uint32_t sum;  /* checksum of the record so far, without its state */
    void (*flush)(const void *from, size_t size);
};

/* Looks in an area, whose physical address is `address`, for the log of a later boot than that of
 * *found, which is cleared at first. */
void kept_find(const struct kept_area *area, uint64_t address, struct kept_found *found);

/* Prints what kept_find() has found: one line if that boot ended properly; its whole log if it did
 * not end or panicked, each line after a mark. Empty lines are left out. Prints nothing if nothing
 * was found. */
void kept_print(const struct kept_found *found);

/* Begins the log of this boot. `flush` writes a piece of the area back from the caches to RAM. */
void kept_begin(struct kept_log *log, struct kept_area *area, const struct kept_found *found,
                void (*flush)(const void *from, size_t size));

/* Appends text. Calls must not overlap. */
void kept_write(struct kept_log *log, const char *text, size_t length);

/* Notes that this boot has come to its EXIT line. */
void kept_end(struct kept_log *log, unsigned code);
