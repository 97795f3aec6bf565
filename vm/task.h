/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches (SDM 3, chapter 8), which VMX leaves to the hypervisor: each of them exits
 * after the CPU has found the new TSS and checked that the switch is allowed (SDM 3, 26.4.2). The
 * rest is done here: the old task's state is saved in its TSS, the new task's state is loaded from
 * its TSS, and the segments that it names are looked up and checked. The source is CALL, JMP, IRET
 * with NT, or a task gate of the IDT; a TSS has 32 bits or 16 bits.
 *
 * An invalid TSS is a fault of the old task, before anything has changed. An invalid segment is a
 * fault of the new task: its registers are loaded, and where CS and SS could not be loaded, they
 * keep the parts that a selector does not show, so that VM entry is possible.
 *
 * Pure: the registers are in a struct, and memory is accessed through functions. vm/task_exit.c
 * provides both.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "arch/x86/regs.h"

#include <stdbool.h>
#include <stdint.h>

/* A segment register: access rights in the VMCS's format, the limit in bytes. */
struct task_segment {
    uint16_t selector;
    uint32_t rights, limit;
    uint64_t base;
};

struct task_cpu {
    uint32_t eip;    /* of the old task: where it continues later */
    uint32_t eflags; /* of the old task: with what it continues */
    uint32_t gpr[8];
    uint32_t cr3;
    uint64_t dr7;
    struct task_segment segments[SEG_COUNT], ldtr, tr;
    uint64_t gdt_base;
    uint32_t gdt_limit;
    bool paging; /* CR0.PG */
};

/* Numbered as in bits 31:30 of the exit qualification. */
enum task_source {
    TASK_CALL,
    TASK_IRET,
    TASK_JMP,
    TASK_GATE, /* a task gate of the IDT */
};

struct task_request {
    enum task_source source;
    uint16_t selector; /* of the new TSS */
    bool external;     /* by an interrupt or exception, not by an instruction: EXT of error codes */
    bool has_error;    /* the exception pushes the error code onto the new task's stack */
    uint32_t error_code;
};

/* Access to linear memory like the CPU's own, with the rights of CPL 0, or for a stack with those
 * of the task. Each function returns false if it has failed, and keeps the reason for its owner. */
struct task_memory {
    bool (*read)(void *context, uint32_t address, void *bytes, unsigned size);
    bool (*write)(void *context, uint32_t address, const void *bytes, unsigned size);
    bool (*push)(void *context, uint32_t address, const void *bytes, unsigned size, unsigned cpl);
    /* Fails where a write would, and writes nothing. */
    bool (*check)(void *context, uint32_t address, unsigned size);
    /* Changes bits in one byte of a descriptor, atomically: other CPUs may change it, too. */
    bool (*change)(void *context, uint32_t address, uint8_t clear, uint8_t set);
    /* Does what MOV to CR3 does. Returns false if the PDPTEs are invalid. */
    bool (*set_cr3)(void *context, uint32_t cr3);
    void *context;
};

enum task_result {
    TASK_DONE,
    TASK_TRAP,   /* done, and the new TSS has T set: #DB with DR6.BT */
    TASK_FAULT,  /* an exception: `vector` and `error_code` */
    TASK_MEMORY, /* a function of task_memory has failed */
};

struct task_outcome {
    enum task_result result;
    bool switched; /* the registers are the new task's, even if a later step has failed */
    uint8_t vector;
    uint32_t error_code;
};

/* Executes the switch. *cpu changes only if the outcome has `switched` set; then the caller sets
 * CR0.TS. */
struct task_outcome task_switch(struct task_cpu *cpu, const struct task_request *request,
                                const struct task_memory *memory) MUST_CHECK;
