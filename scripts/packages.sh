#!/bin/sh
# SPDX-License-Identifier: MIT
# Sourced by the other scripts: the Debian packages that ormd is built and tested with, and how to get those that are missing.

ormd_build_packages="build-essential cmake ninja-build pkg-config libnng-dev libprotobuf-c-dev protobuf-c-compiler
	libsqlite3-dev libpq-dev libmariadb-dev libjansson-dev libinih-dev libxxhash-dev libunistring-dev"
# Debian starts database servers as it installs them. The tests neither need nor touch those: they start their own, in private
# directories and on Unix sockets.
ormd_test_packages="$ormd_build_packages clang libclang-rt-14-dev libcmocka-dev openssl sqlite3 postgresql mariadb-server
	galera-4 rsync"

# install_missing PACKAGE ...: says by name what is missing, then installs it; needs root or sudo only if something is.
install_missing() {
	missing=
	for package in "$@"; do
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	echo "ormd: these Debian packages are missing and will be installed:$missing"
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "ormd: neither root nor sudo here: install them, then run this again" >&2
			return 1
		}
		as_root=sudo
	fi
	$as_root apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}
