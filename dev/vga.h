/* SPDX-License-Identifier: MIT */
/*
 * A VGA adapter in text mode 3 (80 columns, 25 rows): its ports 0x3c0 to 0x3df, and 32 KiB of text
 * memory at 0xb8000. The registers keep what is written to them, and change nothing: there is no
 * picture, no font and no graphics mode. Vertical retrace begins and ends with each read of the
 * status register.
 *
 * For guests that write to no serial port, what they write into the text memory is shown as lines
 * of a console. A row is shown when text is written into another one, so that it is complete.
 * Scrolling moves text without writing any: a character that is the one below it, as it is while a
 * guest copies the rows up by one, is not new text.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define VGA_PORTS      0x20u
#define VGA_TEXT       0xb8000u
#define VGA_TEXT_SIZE  0x8000u
#define VGA_TEXT_ORDER 3u /* of the pages of the text memory */
#define VGA_COLUMNS    80u
#define VGA_ROW        (2 * VGA_COLUMNS) /* bytes: a character and its attribute for each column */
#define VGA_ROWS       (VGA_TEXT_SIZE / VGA_ROW)
#define VGA_NO_ROW     VGA_ROWS

/* Registers that are reached by an index: in ports of their own, or in the attribute controller's
 * case in one port that takes index and data by turns. */
struct vga_registers {
    uint8_t index;
    uint8_t values[32];
};

struct vga {
    struct vga_registers crtc, sequencer, graphics, attributes;
    uint8_t misc;
    bool attribute_data; /* the next write to the attribute controller is data */
    bool retrace;
    /* The text memory, VGA_TEXT_SIZE bytes, and what shows the bytes of its lines. */
    uint8_t *text;
    void (*put)(void *context, uint8_t byte);
    void *context;
    unsigned row; /* the row with text that has not been shown, or VGA_NO_ROW */
};

extern const struct bus_ops vga_port_ops, vga_text_ops;

/* Initializes the adapter as a BIOS does. The text memory, if there is any, must be cleared. */
void vga_init(struct vga *vga, uint8_t *text, void (*put)(void *context, uint8_t byte),
              void *context);

/* Shows the last row, which may be incomplete. */
void vga_finish(struct vga *vga);
