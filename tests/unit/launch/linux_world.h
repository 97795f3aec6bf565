/* SPDX-License-Identifier: MIT */
/* What the tests of the Linux loaders share: a file to spoil, the plan that is made of it, and what
 * every plan owes. */
#pragma once

#include "tests/unit/support.h"

#include "launch/loader.h"
#include "lib/bits.h"
#include "vm/layout.h"

#include <string.h>

#define MIB    (1ull << 20)
#define RAM    (256 * MIB)
#define BLOCK  0x10000u /* of the loader in the guest's memory */
#define INITRD "initial file system"

/* Offsets in a bzImage's file and in the zero page (boot.rst). */
#define SETUP_SECTS     0x1f1
#define SYSSIZE         0x1f4
#define BOOT_FLAG       0x1fe
#define JUMP            0x200
#define HDRS            0x202
#define VERSION         0x206
#define LOADER_TYPE     0x210
#define LOADFLAGS       0x211
#define RAMDISK_IMAGE   0x218
#define RAMDISK_SIZE    0x21c
#define CMD_LINE_PTR    0x228
#define INITRD_ADDR_MAX 0x22c
#define ALIGNMENT       0x230
#define RELOCATABLE     0x234
#define XLOADFLAGS      0x236
#define CMDLINE_SIZE    0x238
#define PREF_ADDRESS    0x258
#define INIT_SIZE       0x260

extern uint8_t file[0x4000];
extern struct load_plan plan;
extern struct guest_image image;

/* Forgets everything: the image has RAM, arguments, an initrd, and zeros as its file. */
void world_reset(void);

/* A bzImage that put_bzimage() makes: the kernel's offset in the file and its size, where it wants
 * to be, and the RAM that it needs to start. */
#define SETUP     0xa00u /* setup_sects 4, and the boot sector */
#define KERNEL    0x3000u
#define PREFERRED (16 * MIB)
#define NEEDS     (48 * MIB)

/* Forgets everything, and makes the file a good bzImage of the newest protocol. */
void put_bzimage(void);

/* Little-endian words of the file, and of anything. */
void put(uint64_t offset, uint64_t value, size_t size);
uint64_t get(const void *from, uint64_t offset, size_t size);

/* The only record of this kind. */
const struct load_record *record(enum load_kind kind);

/* Every record is in RAM, or in the BIOS area, and alone there. */
void check_records(void);

/* The image is taken without a message. */
void good(void);

/* The image is refused with this code, and a message that contains this text. */
void refused(enum exit_code code, const char *message);

/* An E820 map of `count` entries, `stride` bytes apart. */
void check_e820(const uint8_t *entries, unsigned count, unsigned stride);

/* The state and the memory at a 64-bit entry point. */
void check_start(uint64_t entry);
void check_zero_page(const uint8_t *zero_page);

/* Cuts the file off anywhere, and changes any byte of its first 0x300. */
void check_spoilt(void (*make)(void));
