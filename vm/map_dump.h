/* SPDX-License-Identifier: MIT */
/*
 * A picture of a VM's memory: what its tables hold, its slots and its devices, in a compact form
 * that tools/map.py draws (docs/MAP.md). A guest with `testctl` asks for one by HC_MAP, and each VM
 * is drawn when it ends. With the word `map` on the command line, the pictures leave the machine by
 * the export channel; without it, nothing is drawn.
 *
 * A picture is a sequence of blocks, each of which is a frame of the channel. A block is a sequence
 * of numbers in LEB128, seven bits in each byte with the lowest first, and texts, which are a
 * number of bytes and then the bytes. It begins with its enum map_block, the number of the picture,
 * and the number of the block in it, from 0; the rest is described there. The blocks name all
 * classes and bits, so whoever reads them need not know this machine.
 *
 * The memory may change while it is drawn; the last block says so by another generation.
 */
#pragma once

#include "lib/compiler.h"
#include "mmu/picture.h"

#include <stddef.h>

struct vm;

#define MAP_VERSION   1u
#define MAP_LABEL_MAX 32u
#define MAP_BLOCK_MAX 1024u /* bytes of a block */
#define MAP_PICTURES  256u  /* that one VM can ask for */

/* What follows in a block. `…` is repeated up to the end of the block. */
enum map_block {
    MAP_BEGIN = 1, /* MAP_VERSION, number of the VM, its name, the label, why (enum map_moment), TSC
                      in kHz ticks: in microseconds, generation of the slots, top level, frames */
    MAP_CLASSES,   /* … number, kind of its fields (enum picture_kind), name, meaning */
    MAP_MARKS,     /* … bit, meaning */
    MAP_FIELDS,    /* … mask, kinds of entries (enum picture_kind), name */
    MAP_ROOTS,     /* … number, stolen bits of an alias in it, name, 1 if its entries follow */
    MAP_SLOTS,     /* … id, first frame, frames, what is special about it */
    MAP_REGIONS,   /* … first and last address of a device, its name */
    MAP_COUNTERS,  /* … name, value */
    MAP_ENTRIES,   /* … root, level, class, marks, first frame, count, word: of `count` entries in
                      a row, each of which points to the page after that of the one before */
    MAP_END,       /* generation of the slots; the number of blocks is that of this one, plus 1 */
};

enum map_moment {
    MAP_ASKED,
    MAP_ENDED,
};

#define MAP_PATIENCE 100000u /* a picture is given up if the channel refuses a block so often */

/* The state of a picture between two pieces. */
struct map_dump {
    uint32_t number; /* of the picture, unique in the machine */
    uint32_t blocks;
    enum map_block stage; /* of the next block */
    uint32_t index;       /* of the next row of this stage */
    uint32_t refused;     /* tries of this block that were refused */
    struct picture_at at;
    uint64_t time; /* microseconds since the machine's TSC was 0 */
    enum map_moment moment;
    char label[MAP_LABEL_MAX + 1];
};

/* Whether the command line asks for pictures. */
void map_choose(bool wanted);
bool map_is_wanted(void);

/* Begins a picture. `label` is text of the guest: what is not printable becomes a question mark. */
void map_begin(struct map_dump *dump, enum map_moment moment, uint64_t time, const char *label);

enum map_progress {
    MAP_MORE,    /* call again */
    MAP_REFUSED, /* `emit` has refused the block: call again later */
    MAP_OVER,    /* the picture is complete, or has been given up */
};

/* Makes the next block, in at most 40,000 instructions, and gives it to `emit`, which returns
 * whether it took the block. Takes no lock for longer than a few instructions, and waits for
 * nobody. The caller is in an epoch, which may end between two calls. */
enum map_progress map_piece(struct map_dump *dump, struct vm *vm,
                            bool (*emit)(const void *block, size_t size)) MUST_CHECK;

/* The same into the export channel. */
enum map_progress map_export(struct map_dump *dump, struct vm *vm) MUST_CHECK;

/* Draws a VM that has ended, and of which nothing has been freed yet: does a piece, and returns
 * whether that was the last one. Does nothing if no pictures are wanted, or if the VM has never
 * run. */
bool map_at_end(struct vm *vm, uint64_t time) MUST_CHECK;
