/* SPDX-License-Identifier: MIT */
/* The VGA adapter; see the header. Called by the buses. Pure. */
#include "dev/vga.h"

#include "lib/bits.h"
#include "lib/string.h"

/* Ports, from 0x3c0 on. */
#define ATTRIBUTE_WRITE 0x00u /* index and data by turns */
#define ATTRIBUTE_READ  0x01u
#define MISC_WRITE      0x02u
#define SEQUENCER_INDEX 0x04u
#define SEQUENCER_DATA  0x05u
#define MISC_READ       0x0cu
#define GRAPHICS_INDEX  0x0eu
#define GRAPHICS_DATA   0x0fu
#define CRTC_INDEX      0x14u
#define CRTC_DATA       0x15u
#define STATUS          0x1au /* a read makes the next write to ATTRIBUTE_WRITE an index */

#define INDEX_BITS BITS(4, 0)

#define STATUS_BLANK   BIT(0)
#define STATUS_RETRACE BIT(3)

/* What a BIOS programs for mode 3. */
static const uint8_t crtc_mode3[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                     0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                     0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const uint8_t sequencer_mode3[] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t graphics_mode3[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
#define MISC_MODE3 0x67 /* the ports of a colour adapter, 28 MHz, the RAM is enabled */

void vga_init(struct vga *vga, uint8_t *text, void (*put)(void *context, uint8_t byte),
              void *context)
{
    *vga = (struct vga){
        .misc = MISC_MODE3, .text = text, .put = put, .context = context, .row = VGA_NO_ROW};
    memcpy(vga->crtc.values, crtc_mode3, sizeof(crtc_mode3));
    memcpy(vga->sequencer.values, sequencer_mode3, sizeof(sequencer_mode3));
    memcpy(vga->graphics.values, graphics_mode3, sizeof(graphics_mode3));
}

/* ---- Registers ------------------------------------------------------------------------------- */

static uint8_t vga_read_status(struct vga *vga)
{
    vga->attribute_data = false;
    vga->retrace = !vga->retrace;
    return vga->retrace ? STATUS_BLANK | STATUS_RETRACE : 0;
}

static uint64_t port_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct vga *vga = device;
    (void)vcpu, (void)size;
    switch (offset) {
    case ATTRIBUTE_WRITE:
        return vga->attributes.index;
    case ATTRIBUTE_READ:
        return vga->attributes.values[vga->attributes.index];
    case SEQUENCER_INDEX:
        return vga->sequencer.index;
    case SEQUENCER_DATA:
        return vga->sequencer.values[vga->sequencer.index];
    case MISC_READ:
        return vga->misc;
    case GRAPHICS_INDEX:
        return vga->graphics.index;
    case GRAPHICS_DATA:
        return vga->graphics.values[vga->graphics.index];
    case CRTC_INDEX:
        return vga->crtc.index;
    case CRTC_DATA:
        return vga->crtc.values[vga->crtc.index];
    case STATUS:
        return vga_read_status(vga);
    default:
        return ~0ull;
    }
}

static void vga_write_attribute(struct vga *vga, uint8_t value)
{
    if (vga->attribute_data)
        vga->attributes.values[vga->attributes.index] = value;
    else
        vga->attributes.index = value & INDEX_BITS;
    vga->attribute_data = !vga->attribute_data;
}

static void port_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct vga *vga = device;
    uint8_t byte = (uint8_t)value;
    (void)vcpu, (void)size;
    switch (offset) {
    case ATTRIBUTE_WRITE:
        vga_write_attribute(vga, byte);
        break;
    case MISC_WRITE:
        vga->misc = byte;
        break;
    case SEQUENCER_INDEX:
        vga->sequencer.index = byte & INDEX_BITS;
        break;
    case SEQUENCER_DATA:
        vga->sequencer.values[vga->sequencer.index] = byte;
        break;
    case GRAPHICS_INDEX:
        vga->graphics.index = byte & INDEX_BITS;
        break;
    case GRAPHICS_DATA:
        vga->graphics.values[vga->graphics.index] = byte;
        break;
    case CRTC_INDEX:
        vga->crtc.index = byte & INDEX_BITS;
        break;
    case CRTC_DATA:
        vga->crtc.values[vga->crtc.index] = byte;
        break;
    }
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The text memory is cleared to zeros by some and to blanks by others. */
static bool is_blank(uint8_t character)
{
    return character == 0 || character == ' ';
}

void vga_finish(struct vga *vga)
{
    if (vga->row == VGA_NO_ROW)
        return;
    const uint8_t *row = vga->text + vga->row * VGA_ROW;
    unsigned length = VGA_COLUMNS;
    while (length && is_blank(row[2 * (length - 1)]))
        length--;
    for (unsigned i = 0; i < length; i++)
        vga->put(vga->context, is_blank(row[2 * i]) ? ' ' : row[2 * i]);
    vga->put(vga->context, '\n');
    vga->row = VGA_NO_ROW;
}

/* A character is written. If the rows are copied up, the row that has not been shown moves with
 * them. */
static void vga_write_character(struct vga *vga, unsigned offset, uint8_t character)
{
    unsigned row = offset / VGA_ROW;
    bool copied = row + 1 < VGA_ROWS && character == vga->text[offset + VGA_ROW];
    if (copied && vga->row == row + 1 && offset % VGA_ROW == 0)
        vga->row = row;
    if (copied || is_blank(character) || character == vga->text[offset] || row == VGA_NO_ROW)
        return;
    if (vga->row != row)
        vga_finish(vga);
    vga->row = row;
}

static uint64_t text_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct vga *vga = device;
    uint64_t value = 0;
    (void)vcpu;
    memcpy(&value, vga->text + offset, size);
    return value;
}

static void text_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct vga *vga = device;
    (void)vcpu;
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        unsigned at = (unsigned)offset + i;
        if (at % 2 == 0)
            vga_write_character(vga, at, (uint8_t)value);
        vga->text[at] = (uint8_t)value;
    }
}

const struct bus_ops vga_port_ops = {
    .name = "vga", .read = port_read, .write = port_write, .sizes = 1};
const struct bus_ops vga_text_ops = {.name = "vga text", .read = text_read, .write = text_write};
