#include "arch/x86/vga.h"

#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

#define TEXT_BUFFER HPA(0xb8000)
#define WHITE       0x0700

static volatile uint16_t *cells;
static unsigned columns = 80, rows = 25, column;

static void new_line(void)
{
    for (unsigned i = 0; i < columns * (rows - 1); i++)
        cells[i] = cells[i + columns];
    for (unsigned i = 0; i < columns; i++)
        cells[columns * (rows - 1) + i] = WHITE | ' ';
    column = 0;
}

static void vga_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n' || column == columns)
            new_line();
        if (text[i] != '\n')
            cells[columns * (rows - 1) + column++] = (uint16_t)(WHITE | (uint8_t)text[i]);
    }
}

void vga_init(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    if (screen->kind == BOOT_FRAMEBUFFER_RGB)
        return;
    if (screen->kind == BOOT_FRAMEBUFFER_TEXT && screen->width && screen->height) {
        columns = screen->width;
        rows = screen->height;
    }
    cells = physical_map(TEXT_BUFFER, columns * rows * sizeof(*cells), false);
    if (cells)
        log_add_console(vga_write);
}
