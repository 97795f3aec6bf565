#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the mirror of Debian that apt uses, whatever form its sources have: mirror.sh [FOLDER].
etc=${1:-/etc/apt}
mirror=$(sed -n 's,^\(URIs: *\|deb \(\[[^]]*\] \)\?\)\(http[^ ]*\).*,\3,p' \
    "$etc/sources.list" "$etc"/sources.list.d/*.list "$etc"/sources.list.d/*.sources \
    2>/dev/null | grep '/debian/*$' | head -1)
if [ -z "$mirror" ]; then
    echo "mirror: the sources in $etc name no mirror of Debian; add one" >&2
    exit 1
fi
echo "$mirror"
