/* SPDX-License-Identifier: MIT */
/* The exit codes of a run. The last line on every console is `EXIT code name`, and the harness
 * returns the code. */
#pragma once

#define EXIT_CODES(X)                                                                             \
    X(OK, 0, "ok")                                                                                \
    X(FAILED, 1, "failed")                  /* a guest failed, or did not end as expected */      \
    X(PANIC, 2, "panic")                    /* an exception or BUG in the hypervisor */           \
    X(WARNED, 3, "warned")                  /* all passed, but a WARN was printed */              \
    X(STOPPED, 4, "stopped")                /* somebody at the console ended the machine */       \
    X(NO_VMX, 10, "no-vmx")                 /* the CPU has no VMX */                              \
    X(VMX_LOCKED_OFF, 11, "vmx-locked-off") /* the firmware has locked VMX off */                 \
    X(NO_EPT, 12, "no-ept")                 /* VMX without EPT, or an EPT that lacks a feature */ \
    X(MISSING_CONTROL, 13, "missing-control")   /* a required VM-execution control is missing */  \
    X(NO_MEMORY, 14, "no-memory")               /* too little RAM */                              \
    X(BAD_COMMAND_LINE, 15, "bad-command-line") /* an unknown word, or a bad value */             \
    X(BAD_BOOT_INFO, 16, "bad-boot-info")       /* a malformed multiboot structure */             \
    X(NO_GUESTS, 17, "no-guests")               /* nothing to run */                              \
    X(MODULE_EMPTY, 20, "module-empty")                                                           \
    X(MODULE_TRUNCATED, 21, "module-truncated")                                                   \
    X(MODULE_NOT_ELF, 22, "module-not-elf") /* or an ELF file that cannot be started */           \
    X(MODULE_OVERLAP, 23, "module-overlap") /* a module overlaps another one, or the image */     \
    X(GUEST_TOO_LARGE, 24, "guest-too-large")                                                     \
    X(MODULE_WORDS, 25, "module-words") /* bad words in a module's string, alone or together */   \
    X(MODULE_OUTSIDE, 26, "module-outside")       /* a module is not in the memory map's RAM */   \
    X(MODULE_BAD_KERNEL, 27, "module-bad-kernel") /* a Linux kernel that cannot be started */

#ifndef __ASSEMBLER__
enum exit_code {
#define X(name, code, text) EXIT_##name = (code),
    EXIT_CODES(X)
#undef X
};

/* The name of a code, or "?" if there is no such code. */
const char *exit_name(unsigned code);
#endif
