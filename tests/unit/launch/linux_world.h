/* SPDX-License-Identifier: MIT */
/* Shared by the tests of the Linux loaders: a valid file, which each test changes, the plan that
 * the loader makes of it, and checks that hold for every plan. */
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

/* Resets the world: the image has RAM, arguments, an initrd, and a file of zeros. */
void world_reset(void);

/* The bzImage that put_bzimage() makes: the kernel's offset in the file, its size, its preferred
 * address, and the bytes of RAM that it needs to start. */
#define SETUP     0xa00u /* setup_sects 4, and the boot sector */
#define KERNEL    0x3000u
#define PREFERRED (16 * MIB)
#define NEEDS     (48 * MIB)

/* Resets the world, and makes the file a valid bzImage of the newest protocol. */
void put_bzimage(void);

/* Write a little-endian value into the file, and read one from any memory. */
void put(uint64_t offset, uint64_t value, size_t size);
uint64_t get(const void *from, uint64_t offset, size_t size);

/* Returns the only record of this kind. */
const struct load_record *record(enum load_kind kind);

/* Checks that every record lies where its kind belongs, and that no records overlap. */
void check_records(void);

/* Checks that the image is accepted without a message. */
void good(void);

/* Checks that the image is refused with this code, and a message that contains this text. */
void refused(enum exit_code code, const char *message);

/* Checks an E820 map of `count` entries, `stride` bytes apart. */
void check_e820(const uint8_t *entries, unsigned count, unsigned stride);

/* Check the state and the memory at a 64-bit entry point. */
void check_start(uint64_t entry);
void check_zero_page(const uint8_t *zero_page);

/* Loads the file cut off at any length, and with any of its first 0x300 bytes changed. */
void check_spoilt(void (*make)(void));
