#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the command that runs CBMC: the installed one, or Debian 13's, unpacked as the folder $1.
command -v cbmc || exec "$(dirname "$0")/unpack.sh" trixie "$1" cbmc cbmc minisat
