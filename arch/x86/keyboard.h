/* SPDX-License-Identifier: MIT */
/* A key on the keyboard, for somebody who reads the screen. */
#pragma once

#include <stdbool.h>

/* Takes what the keyboard controller has received, and returns true if a key was pressed. A machine
 * without that controller, or whose firmware does not make a USB keyboard look like a PS/2 one, has
 * no keys. */
bool keyboard_pressed(void);
