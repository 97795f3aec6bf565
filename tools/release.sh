#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the packages of another Debian release known to apt: tools/release.sh FOLDER RELEASE
#
# Creates an apt state in FOLDER, replacing what is there, and prints the path of a configuration
# file. With this file as APT_CONFIG, apt-get and apt-cache know the packages of this release and no
# others, and consider none of them installed. RELEASE may also be bookworm-backports, for example.
set -e
mirror=$("$(dirname "$0")/mirror.sh")
rm -rf "$1"
mkdir -p "$1/lists/partial" "$1/archives/partial"
folder=$(cd "$1" && pwd)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $2 main" \
    >"$folder/sources.list"
: >"$folder/status"
cat >"$folder/apt.conf" <<CONF
Dir::State::Lists "$folder/lists";
Dir::State::Status "$folder/status";
Dir::Cache "$folder";
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Get::List-Cleanup "0";
APT::Sandbox::User "root";
CONF
APT_CONFIG=$folder/apt.conf apt-get -qq update >&2
echo "$folder/apt.conf"
