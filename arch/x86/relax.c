/* Waiting for another CPU. */
#include "lib/spinlock.h"

void cpu_relax(void)
{
    __builtin_ia32_pause();
}
