/* SPDX-License-Identifier: MIT */
/*
 * The commands of the monitor, and what a command may use.
 *
 * A command is called in pieces of at most 50,000 instructions, as struct work is (vm/work.h),
 * until it returns false. Between two pieces, its state is in its struct monitor_call. What it says
 * is kept there, too, and taken away between two pieces, so that it waits for no console: a piece
 * may say MONITOR_LINES lines. Only one CPU at a time works for a call, and the pieces of two calls
 * are never executed at the same time, so commands may keep something from one call to the next.
 *
 * A command holds the VM that it is about (vm/registry.h), so the VM may end meanwhile, but is not
 * taken apart. What belongs to a vCPU, such as its VMCS, is read and written only on the vCPU's own
 * pCPU, by monitor_visit(). Lock-free structures of the MMU are read between monitor_begin_look()
 * and monitor_end_look().
 *
 * The console's monitor (monitor/monitor.h) and gdb's `monitor` packets execute the same commands.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "monitor/editor.h"
#include "vm/visit.h"

struct vm;
struct vcpu;
struct monitor_call;

#define MONITOR_WORDS     16u  /* words of a line; further ones are refused */
#define MONITOR_LINES     24u  /* lines that a piece may say */
#define MONITOR_WIDTH     200u /* bytes of a line that is said, with its newline; the rest is cut */
#define MONITOR_REGISTERS 23u  /* of a vCPU, that `step` compares */
#define MONITOR_TEXT      (MONITOR_LINES * MONITOR_WIDTH)

struct monitor_command {
    const char *name;
    const char *arguments; /* as `help` shows them: "VM.VCPU [SECTION]" */
    const char *help;      /* half a sentence */
    /* Executes the next piece. Returns false if that was the last one. */
    bool (*piece)(struct monitor_call *call);
    char key; /* a letter that means the same as the name; 0: none */
};

/* All commands, in the order in which `help` lists them (monitor/commands.c). */
extern const struct monitor_command monitor_commands[];
extern const unsigned monitor_command_count;

/* A command that is being executed. A command may use the fields of the second part, which are all
 * zero at its first piece. */
struct monitor_call {
    const struct monitor_command *command; /* NULL: the line is empty, or has been refused */
    char line[MONITOR_LINE];
    unsigned count;                   /* of words */
    const char *words[MONITOR_WORDS]; /* words[0] is the command's name or key */

    struct vm *vm;     /* held until the call is over: set by monitor_vm() and monitor_vcpu() */
    struct vcpu *vcpu; /* one of its vCPUs */
    unsigned step;
    uint64_t index, value[4];
    uint64_t registers[MONITOR_REGISTERS];

    struct visit visit;
    void (*look)(struct monitor_call *call, struct vcpu *vcpu);
    bool visiting;  /* a visit has begun, and its end has not been seen */
    bool missed;    /* the last visit found that the vCPU has no turns, and called nothing */
    bool abandoned; /* set by whoever executes the call: it is to end soon */
    /* What is to be done before an abandoned call ends, as pieces; NULL: nothing. */
    bool (*take_back)(struct monitor_call *call);
    bool taken_back; /* … has begun */
    bool over;       /* the command has executed its last piece */
    bool online; /* between monitor_begin_look() and monitor_end_look(): what this CPU was before */
    const void *owner;
    bool leaves; /* the monitor is to give the console back after the call */
    bool waits;  /* the piece had nothing to do but to wait: call it again in a millisecond */

    size_t said;  /* bytes of `text` */
    unsigned cut; /* lines that found no room: a piece has said more than it may */
    char text[MONITOR_TEXT];
};

/* ---- For commands ---------------------------------------------------------------------------- */

/* Adds a line to the answer. */
void monitor_say(struct monitor_call *call, const char *format, ...) PRINTF(2, 3);

/* Reads word `index`, a number, decimal or 0x…. Returns false after a message if there is no such
 * word or it is no number from `min` to `max`; `what` says in the message what is expected. */
bool monitor_number(struct monitor_call *call, unsigned index, const char *what, uint64_t min,
                    uint64_t max, uint64_t *value) MUST_CHECK;

/* The same for a guest-physical address, which the CPU can address (monitor/why.c). */
bool monitor_gpa(struct monitor_call *call, unsigned index, uint64_t *gpa) MUST_CHECK;

/* Finds the VM that word `index` names, by its number or its name, and holds it as call->vm.
 * Returns false after a message that says which VMs there are. Without the word, the VM is the only
 * one that exists, if there is one. */
bool monitor_vm(struct monitor_call *call, unsigned index) MUST_CHECK;

/* The same for a vCPU, as in `1.0` or `hello.0`, and call->vcpu. `VM` alone means its only vCPU. */
bool monitor_vcpu(struct monitor_call *call, unsigned index) MUST_CHECK;

/* Returns false after a message if there are words from `count` on. */
bool monitor_words_end(struct monitor_call *call, unsigned count) MUST_CHECK;

/* Returns false, after a message, for a TD that was created without tdx=debug: `what`, its memory
 * or registers, may not be shown. */
bool monitor_may_look(struct monitor_call *call, const char *what) MUST_CHECK;

/* Calls `look` for call->vcpu on the vCPU's own pCPU, with its VMCS current, where it may say
 * lines. Returns false while that has not happened yet: then the piece returns true, and calls this
 * again. Returns true once after each visit. */
bool monitor_visit(struct monitor_call *call,
                   void (*look)(struct monitor_call *call, struct vcpu *vcpu)) MUST_CHECK;

/* After a visit: returns false, after a message, if the vCPU has no turns, so that the visit has
 * looked at nothing. */
bool monitor_seen(struct monitor_call *call);

/* In between, this pCPU may read the tables and slots of call->vm without locks. Not in a visit,
 * where that is so anyway. */
void monitor_begin_look(struct monitor_call *call);
void monitor_end_look(struct monitor_call *call);

/* ---- For those who execute commands ---------------------------------------------------------- */

/* The command whose name or key is the first word of the line, or NULL. */
const struct monitor_command *monitor_find(const char *line);

/* Splits the line, which is cut at MONITOR_LINE, and finds the command. A line with an unknown
 * command says so, and lists those that begin with the same letter. */
void monitor_call_begin(struct monitor_call *call, const char *line);

/* Executes the next piece. Afterwards, unless call->waits is set, its text may be taken away
 * (call->said = 0). Returns false if the call is over; then the VM has been released. */
bool monitor_call_piece(struct monitor_call *call) MUST_CHECK;
