/* SPDX-License-Identifier: MIT */
/* The screen as a console; see the header. */
#include "arch/x86/screen.h"

#include "arch/x86/font.h"
#include "arch/x86/paging.h"
#include "arch/x86/pixels.h"
#include "arch/x86/terminal.h"
#include "lib/log.h"

#define TEXT_BUFFER  HPA(0xb8000)
#define TEXT_SIZE    0x8000u
#define TEXT_COLUMNS 80 /* the BIOS's default, if the loader says nothing */
#define TEXT_ROWS    25
#define WHITE        0x0700

static struct terminal terminal;
static struct pixels pixels;
static volatile uint16_t *cells;
static unsigned cells_in_row;
static bool settled;

static void draw_pixels(unsigned column, unsigned row, const char *text, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pixels_draw(&pixels, column + i, row, text[i]);
}

static void draw_cells(unsigned column, unsigned row, const char *text, unsigned count)
{
    volatile uint16_t *cell = &cells[row * cells_in_row + column];
    for (unsigned i = 0; i < count; i++)
        cell[i] = (uint16_t)(WHITE | (uint8_t)text[i]);
}

static void screen_write(const char *text, size_t length)
{
    terminal_write(&terminal, text, length);
    __asm__ volatile("sfence" ::: "memory"); /* stores to a framebuffer are write-combined */
}

static size_t screen_room(char next)
{
    return terminal_room(&terminal, next);
}

/* Cost of drawing a character, in comparisons of eight characters (terminal.h). */
#define PIXELS_COST 50u
#define CELLS_COST  2u

static void start_pixels(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    uint64_t size = pixels_size(info);
    void *base = size ? physical_map(screen->base, size, MAP_WRITE_COMBINING) : NULL;
    settled = base || !size;
    if (!base)
        return;
    pixels_init(&pixels, screen, base);
    terminal_init(&terminal, screen->width / FONT_WIDTH, screen->height / FONT_HEIGHT, PIXELS_COST,
                  draw_pixels);
    log_add_console(screen_write, screen_room);
}

static void start_text(unsigned columns, unsigned rows)
{
    settled = true;
    if (!columns || !rows || rows > TEXT_SIZE / sizeof(*cells) / columns) {
        log_error("screen: text mode of %u x %u characters is not used: it does not fit into %u "
                  "bytes",
                  columns, rows, TEXT_SIZE);
        return;
    }
    cells = physical_map(TEXT_BUFFER, TEXT_SIZE, MAP_UNCACHED);
    if (!cells)
        return;
    cells_in_row = columns;
    for (unsigned i = 0; i < columns * rows; i++)
        cells[i] = WHITE | ' ';
    terminal_init(&terminal, columns, rows, CELLS_COST, draw_cells);
    log_add_console(screen_write, screen_room);
}

void screen_init(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    if (settled)
        return;
    if (screen->kind == BOOT_FRAMEBUFFER_RGB)
        start_pixels(info);
    else if (screen->kind == BOOT_FRAMEBUFFER_TEXT)
        start_text(screen->width, screen->height);
    else if (!info->efi_system_table.v) /* UEFI has no text mode */
        start_text(TEXT_COLUMNS, TEXT_ROWS);
}

#define IMAGE_QUIET 4u /* modules around a picture */

unsigned screen_image_scale(unsigned size)
{
    uint32_t room = pixels.width < pixels.height ? pixels.width : pixels.height;
    return pixels.base ? room / (size + 2 * IMAGE_QUIET) : 0;
}

bool screen_image(unsigned size, bool (*dark)(unsigned x, unsigned y))
{
    unsigned scale = screen_image_scale(size), whole = (size + 2 * IMAGE_QUIET) * scale;
    for (unsigned y = 0; y < whole; y++)
        for (unsigned x = 0; x < whole; x++) {
            unsigned column = x / scale - IMAGE_QUIET, row = y / scale - IMAGE_QUIET;
            bool black = column < size && row < size && dark(column, row);
            uint32_t colour = black ? 0 : pixels.white;
            volatile uint8_t *to = pixels.base + (size_t)y * pixels.pitch +
                                   ((size_t)pixels.width - whole + x) * pixels.bytes;
            for (unsigned byte = 0; byte < pixels.bytes; byte++)
                to[byte] = (uint8_t)(colour >> 8 * byte);
        }
    __asm__ volatile("sfence" ::: "memory");
    return scale;
}
