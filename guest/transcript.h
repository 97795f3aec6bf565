/*
 * What is said of the guests, in their order.
 *
 * VMs run side by side, but a report has to be read: so each has a transcript. The one whose turn
 * it is prints its lines at once; those after it keep theirs until all before them are closed. The
 * report is then the same, whoever ran when, and one VM at a time prints as if this were not here.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/log.h"

#define TRANSCRIPTS 33u /* numbered from 1 */

struct transcript;

/* Each number once, from 1 on without gaps, in any order. */
struct transcript *transcript_open(unsigned number);

/* A line, kept or printed. What there is no memory for is counted, and its loss is said. With no
 * transcript, NULL, it is printed. */
void transcript_line(struct transcript *transcript, const char *format, ...) PRINTF(2, 3);

/* No more lines come. */
void transcript_close(struct transcript *transcript);
