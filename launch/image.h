/* SPDX-License-Identifier: MIT */
/* A guest's files as a loader gets them, and the state in which the guest's first vCPU starts. */
#pragma once

#include "lib/exit_codes.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vm/layout.h"

#include <stdbool.h>

/* What a module that belongs to a guest is used for. */
enum guest_module_kind {
    GUEST_MODULE_FILE,
    GUEST_MODULE_INITRD,
    GUEST_MODULE_DISK, /* this and the next kind become devices and are not loaded into RAM */
    GUEST_MODULE_DISK_READ_ONLY,
};

#define GUEST_MODULES     16
#define MODULE_STRING_MAX 64

/* A module that belongs to a guest. */
struct guest_module {
    const void *file;
    uint64_t size;
    enum guest_module_kind kind;
    char string[MODULE_STRING_MAX]; /* its name, and the text after `--` if there is any */
};

/* How an ELF64 kernel is entered: by PVH, or at its 64-bit entry point. AUTO chooses PVH if the
 * file has a PVH entry point. */
enum guest_entry {
    GUEST_ENTRY_AUTO,
    GUEST_ENTRY_PVH,
    GUEST_ENTRY_64,
};

struct guest_image {
    const char *name; /* of the VM, for messages */
    const void *file;
    uint64_t size;         /* of the file, in bytes */
    const char *arguments; /* the guest's command line */
    enum guest_entry entry;
    unsigned cpus;
    bool pc;      /* the VM has a PC's devices */
    bool legacy;  /* … and those of a PC from before ACPI */
    bool pci;     /* … and PCI */
    bool td;      /* the VM is a TD: its boot shim starts the kernel */
    bool measure; /* … and measures it */
    bool lazy;    /* … and accepts only the memory that it needs to start */
    struct guest_range ram[GUEST_RAM_PIECES];
    struct guest_module modules[GUEST_MODULES];
    unsigned module_count;
    unsigned disks; /* number of the VM's disks */
    bool net;       /* the VM has a network device, */
    bool rng;       /* an entropy device, */
    bool hvc;       /* and a virtio console */
};

/* The state in which the first vCPU starts. What all guests have in common is set by
 * boot_state_set(): flat segments, interrupts disabled, and zeros. */
struct guest_start {
    uint64_t entry;  /* RIP */
    uint64_t info;   /* address of the boot information: EBX in 32-bit mode, RSI in 64-bit mode */
    uint32_t magic;  /* EAX */
    uint32_t gdt;    /* address of the GDT; used with `long_mode` only */
    uint64_t tables; /* CR3; used with `long_mode` only */
    bool long_mode;  /* 64-bit code with paging on; otherwise 32-bit code with paging off */
    bool td;         /* in the reset state of a TD, with `info` in RCX and R8 (vm/td.h) */
};

/* Logs a message about the image, and returns EXIT_code from the calling function. */
#define REFUSE(code, image, ...)                           \
    do {                                                   \
        char message[200];                                 \
        snprintf(message, sizeof(message), __VA_ARGS__);   \
        log_error("guest %s: %s", (image)->name, message); \
        return EXIT_##code;                                \
    } while (0)

/* Returns true if the range of `size` bytes lies in one piece of the VM's RAM. */
bool image_in_ram(const struct guest_image *image, uint64_t base, uint64_t size);

/* Searches the file for a 32-bit value at the offsets `at`, `at` + `step`, … below `end`. Returns
 * the first offset at which it is found, or one of at least `end`. The caller guarantees that the
 * value at each of these offsets lies in the file. The loop is kept short, because a file without
 * the value is searched to `end`. */
static inline uint64_t image_find_u32(const struct guest_image *image, uint64_t at, uint64_t end,
                                      unsigned step, uint32_t value)
{
    struct unaligned {
        uint32_t value;
    } __attribute__((packed, may_alias));
    while (at < end && ((const struct unaligned *)((const char *)image->file + at))->value != value)
        at += step;
    return at;
}

/* Returns the end of the RAM that begins at 1 MiB and ends at most at 3 GiB. */
static inline uint64_t image_ram_end(const struct guest_image *image)
{
    return image->ram[1].base.v + image->ram[1].size;
}
