/* SPDX-License-Identifier: MIT */
/*
 * The transcripts: the report's lines about each guest, printed in the order of the guests.
 *
 * VMs run at the same time, but their output must not be mixed, so each VM has a transcript. Lines
 * are added to it at any time. Only the current transcript is printed; the others wait until all
 * transcripts before them are closed. So the report does not depend on the scheduling. A person at
 * the console can choose another VM, whose transcript is then the current one until it is closed.
 *
 * No CPU waits for the console. Text is printed in pieces, without a lock for which another CPU
 * waits, by a pCPU that has nothing more important to do: a pCPU that runs the VM, as long as no
 * vCPU waits behind it and no kick arrives, or an idle one. The text that a VM can make the
 * hypervisor keep and print is bounded: the output of its guest, and the messages logged on its
 * behalf. Lines beyond a bound are cut and counted. The guest's KTAP results have a bound of their
 * own, and the hypervisor's lines about the VM, such as its result, are always kept.
 *
 * Messages that are logged while a pCPU works for a VM (lib/log.h) go into that VM's transcript,
 * with the VM's name. Pure.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/log.h"

#define TRANSCRIPTS (BOOT_MODULES + 1u) /* numbered from 1 */

/* The bounds of one transcript. */
#define TRANSCRIPT_TEXT    (256u << 10) /* bytes of the guest's lines */
#define TRANSCRIPT_RESULTS (16u << 10)  /* additional bytes for its KTAP results */
#define TRANSCRIPT_ERRORS  32u          /* lines of errors and warnings */
#define TRANSCRIPT_NOTES   512u         /* other lines that are logged on the VM's behalf */
#define TRANSCRIPT_PAGES   72u          /* approximate number of pages that all of these take */

struct transcript;

/* Opens the transcript `number`, in any order; in the end all numbers from 1 to the highest one
 * must have been opened. One that has been closed may be opened again. */
struct transcript *transcript_open(unsigned number);

/* Sets the name of the VM, for transcript_show(). */
void transcript_set_name(struct transcript *transcript, const char *name);

/* Prints a line that says whose transcript follows, and then makes the transcript `number` the
 * current one. When it has been closed and printed, the first one that is not becomes current, and
 * if that was left before, such a line says so. */
void transcript_show(unsigned number);

/* The transcript of the console itself, for lines that answer a person's keys. They are printed
 * before the rest of the current transcript. A line is cut while TEXT_SPARE bytes of them
 * (vm/text.h) wait to be printed. */
struct transcript *transcript_console(void);

/* Adds bytes to that transcript as they are, for a dialogue with the person: they need not end a
 * line. Returns false, and adds nothing, while there is no room for all of them. */
bool transcript_echo(const char *bytes, size_t size) MUST_CHECK;

/* Whether the console shows its own transcript only: while it does, the text of the VMs is kept
 * within its bounds. Afterwards the transcript is current again that was before, as if
 * transcript_show() had chosen it. */
void transcript_show_console(bool only);

/* Adds a line of the hypervisor's. If `transcript` is NULL, the line is printed at once. */
void transcript_line(struct transcript *transcript, const char *format, ...) PRINTF(2, 3);

/* Adds a line of a long list. Unlike a line of transcript_line(), it is cut if no page is free. */
void transcript_list(struct transcript *transcript, const char *format, ...) PRINTF(2, 3);

/* Adds a printable line of the guest's. It is indented by four spaces, as KTAP requires of a
 * subtest, which distinguishes it from the hypervisor's lines. */
#define TRANSCRIPT_MARK "    "
void transcript_guest(struct transcript *transcript, const char *line, bool result);

/* Adds a byte of a guest with the word `live`, whose output is printed as it comes and may control
 * the terminal. TRANSCRIPT_TEXT bounds the bytes that are not printed yet, not their total. If the
 * guest's last line is incomplete, a newline precedes the hypervisor's next line. */
void transcript_live(struct transcript *transcript, char byte);

/* Adds lines that say how much was cut, if anything was. Called before the VM's result is added. */
void transcript_say_cut(struct transcript *transcript, const char *name);

/* Closes the transcript: no more lines are added. */
void transcript_close(struct transcript *transcript);

/* Returns true if there is text to print, or if the current transcript is over and the next one can
 * become the current one. */
bool transcript_waits(void);

/* Point to the numbers of unprinted bytes of the current transcript and of the console's own.
 * transcript_has_text() is cheaper than transcript_waits(), for code that tests often. */
extern const uint64_t *transcript_unprinted;
extern const uint64_t *const transcript_notices;

static inline bool transcript_has_text(void)
{
    return __atomic_load_n(__atomic_load_n(&transcript_unprinted, __ATOMIC_ACQUIRE),
                           __ATOMIC_RELAXED) ||
           __atomic_load_n(transcript_notices, __ATOMIC_RELAXED);
}

/* Prints one piece, which is a part of a line, unless another pCPU is printing. Returns
 * transcript_waits(), or false if another pCPU is printing. */
bool transcript_print(void);

/* Returns true if this transcript is the current one. */
bool transcript_is_current(const struct transcript *transcript);

/* Called after a line was added on this pCPU. Defined by vm/pcpu.c and by the hosted tests. */
void transcript_notify(void);

/* Makes the messages that are logged on this pCPU go into `transcript` from now on; NULL ends this.
 * Unless `name` is NULL, it precedes errors and warnings: `# NAME: error: …`. */
void transcript_speak_for(struct transcript *transcript, const char *name);

/* Returns the transcript and the name of the VM whose vCPU runs on this pCPU, or NULL. Messages go
 * there while transcript_speak_for() has chosen no transcript. Defined by vm/pcpu.c and by the
 * hosted tests. */
struct transcript *transcript_running(const char **name);

/* Diverts the messages of lib/log.h to the transcripts. */
void transcript_listen(void);
