/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches (SDM 3, chapter 8), which VMX leaves to the hypervisor: each exits after
 * the CPU has found the new TSS and checked the way to it (SDM 3, 26.4.2). What is left is done
 * here: the old task's state goes into its TSS, the new one's comes out of its own, and the
 * segments that it names are looked up and checked. By CALL, JMP, IRET with NT, or through a task
 * gate of the IDT; with 32-bit and 16-bit TSSs.
 *
 * What is wrong with the TSSs is a fault of the old task, before anything has changed. What is
 * wrong with the segments is a fault of the new one: its registers are there, and CS and SS, as far
 * as they could not be loaded, keep the parts that a selector does not show, so that the VM can be
 * entered.
 *
 * Pure: registers come and go by a struct, memory is reached through functions. The registers are
 * those of vm/task_exit.c.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "arch/x86/regs.h"

#include <stdbool.h>
#include <stdint.h>

/* A segment register: access rights as in the VMCS, the limit in bytes. */
struct task_segment {
    uint16_t selector;
    uint32_t rights, limit;
    uint64_t base;
};

struct task_cpu {
    uint32_t eip;    /* of the old task: where it goes on one day */
    uint32_t eflags; /* likewise */
    uint32_t gpr[8];
    uint32_t cr3;
    uint64_t dr7;
    struct task_segment segments[SEG_COUNT], ldtr, tr;
    uint64_t gdt_base;
    uint32_t gdt_limit;
    bool paging; /* CR0.PG */
};

/* As bits 31:30 of the exit qualification. */
enum task_source {
    TASK_CALL,
    TASK_IRET,
    TASK_JMP,
    TASK_GATE, /* of the IDT */
};

struct task_request {
    enum task_source source;
    uint16_t selector; /* of the new TSS */
    bool external;     /* not by an instruction: an interrupt or exception. EXT of error codes */
    bool has_error;    /* the exception pushes this onto the new task's stack */
    uint32_t error_code;
};

/* Linear memory as the CPU itself accesses it, with the rights of CPL 0, or for a stack those of
 * the task. Each function returns false if it has not done it; why, is for its owner to know. */
struct task_memory {
    bool (*read)(void *context, uint32_t address, void *bytes, unsigned size);
    bool (*write)(void *context, uint32_t address, const void *bytes, unsigned size);
    bool (*push)(void *context, uint32_t address, const void *bytes, unsigned size, unsigned cpl);
    /* Faults as a write would, and writes nothing. */
    bool (*check)(void *context, uint32_t address, unsigned size);
    /* In one byte of a descriptor, which other CPUs may change at the same time. */
    bool (*change)(void *context, uint32_t address, uint8_t clear, uint8_t set);
    /* As MOV to CR3. False: the PDPTEs are refused. */
    bool (*set_cr3)(void *context, uint32_t cr3);
    void *context;
};

enum task_result {
    TASK_DONE,
    TASK_TRAP,   /* done; and the new TSS asks for #DB, with DR6.BT */
    TASK_FAULT,  /* an exception, below */
    TASK_MEMORY, /* one of the functions above said no */
};

struct task_outcome {
    enum task_result result;
    bool switched; /* the registers are the new task's, whatever went wrong after that */
    uint8_t vector;
    uint32_t error_code;
};

/* CR0.TS is the caller's to set, once switched. Changes *cpu only if `switched`. */
struct task_outcome task_switch(struct task_cpu *cpu, const struct task_request *request,
                                const struct task_memory *memory) MUST_CHECK;
