/* SPDX-License-Identifier: MIT */
/*
 * What is said of the guests, in their order, and within bounds.
 *
 * VMs run side by side, but a report has to be read: so each has a transcript. Lines go into it at
 * once, whoever prints what; the one whose turn it is is printed, and the others wait until all
 * before them are closed. The report is then the same, whoever ran when.
 *
 * Nobody waits for the console. Text is printed in pieces, with no lock held that anybody waits
 * for, by whatever pCPU has nothing better to do: first of all one that runs the VM, as long as no
 * vCPU waits behind it and no kick has come. What a VM can make us keep and print is bounded: text
 * of its guest, and what we log on its behalf. What exceeds the bound is cut, and counted; KTAP
 * results of the guest have a bound of their own, and what we say of the VM, its result above all,
 * is always kept.
 *
 * What is logged while a pCPU works for a VM (lib/log.h) stands in that VM's transcript, and says
 * its name. Pure.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/log.h"

#define TRANSCRIPTS (BOOT_MODULES + 1u) /* numbered from 1 */

/* The bounds of one transcript. */
#define TRANSCRIPT_TEXT    (256u << 10) /* bytes of the guest's lines */
#define TRANSCRIPT_RESULTS (16u << 10)  /* more, for its KTAP results */
#define TRANSCRIPT_ERRORS  32u          /* lines of errors and warnings */
#define TRANSCRIPT_NOTES   512u         /* other lines that are logged on its behalf */
#define TRANSCRIPT_PAGES   72u          /* of all these, about */

struct transcript;

/* Each number once, from 1 on without gaps, in any order. */
struct transcript *transcript_open(unsigned number);

/* A line of ours. With no transcript, NULL, it is printed. */
void transcript_line(struct transcript *transcript, const char *format, ...) PRINTF(2, 3);

/* A line of a long list that belongs to the report, which is cut where memory is short. */
void transcript_list(struct transcript *transcript, const char *format, ...) PRINTF(2, 3);

/* A line of the guest's, printable, which is marked as such: it is indented by four spaces, as KTAP
 * wants of a subtest, and none of ours is. */
#define TRANSCRIPT_MARK "    "
void transcript_guest(struct transcript *transcript, const char *line, bool result);

/* A byte of a guest whose output is shown as it comes (the word `live`), whatever it does to a
 * terminal. Not its sum is bounded, but what waits to be printed: of that TRANSCRIPT_TEXT bytes are
 * kept. Lines of ours begin on lines of their own. */
void transcript_live(struct transcript *transcript, char byte);

/* Says how much was cut, if anything was. Before the VM's result. */
void transcript_say_cut(struct transcript *transcript, const char *name);

/* No more lines come. */
void transcript_close(struct transcript *transcript);

/* Is there text to be printed now? */
bool transcript_waits(void);

/* The same for those that look often: the bytes of the one whose turn it is. */
extern const uint64_t *transcript_unprinted;

static inline bool transcript_has_text(void)
{
    return __atomic_load_n(__atomic_load_n(&transcript_unprinted, __ATOMIC_ACQUIRE),
                           __ATOMIC_RELAXED);
}

/* Prints one piece of it, a part of a line; nothing if another pCPU is just printing. Returns
 * whether text waits still. */
bool transcript_print(void);

/* Is it this one's turn? */
bool transcript_is_current(const struct transcript *transcript);

/* Something has been written on this pCPU. Supplied by vm/pcpu.c, and by the hosted tests. */
void transcript_has_news(void);

/* From now on, what is logged on this pCPU is said of this VM. Its name stands before errors and
 * warnings, unless it is NULL: `# NAME: error: …`. With NULL for the transcript, of none. */
void transcript_speak_for(struct transcript *transcript, const char *name);

/* The same while this says nothing: whose guest runs on this pCPU; NULL: nobody's. Supplied by
 * vm/pcpu.c, and by the hosted tests. */
struct transcript *transcript_running(const char **name);

/* Lets transcripts have what is logged. */
void transcript_listen(void);
