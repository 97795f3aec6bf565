#!/bin/sh
# Prints the mirror of Debian that this host's apt uses, whatever form its sources have.
mirror=$(sed -n 's,^\(URIs: *\|deb \(\[[^]]*\] \)\?\)\(http[^ ]*\).*,\3,p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
    2>/dev/null | grep -v security | head -1)
if [ -z "$mirror" ]; then
    echo "mirror: apt's sources name no mirror of Debian; add one" >&2
    exit 1
fi
echo "$mirror"
