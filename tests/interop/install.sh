#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh BUILD_DIR SOURCE_DIR COMPILER [FLAG...]: installs into an empty prefix, moves that elsewhere, and builds and runs
# the tutorial there as a user would: with pkg-config, with find_package, and with the static library.
set -eu
build=$1
source=$2
compiler=$3
shift 3
extra=$*

unset ORMD LD_LIBRARY_PATH || true
work=$(mktemp -d /tmp/orm-install-XXXXXX)
export XDG_RUNTIME_DIR="$work/run"
mkdir -m 0700 "$XDG_RUNTIME_DIR"

end_servers()
{
	for lock in "$work"/*/*-ormd; do
		[ -f "$lock" ] || continue
		pid=$(sed -n 's/^pid //p' "$lock")
		[ -n "$pid" ] && kill "$pid" 2>/dev/null || true
		# Its lock is free when it has ended.
		flock -w 30 "$lock" true || true
	done
}
trap 'end_servers; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

say() { printf '== %s\n' "$*"; }

say "install"
cmake --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
mv "$work/first" "$work/prefix"
prefix=$work/prefix
libdir=$(dirname "$(find "$prefix" -name liborm.so)")
for file in "$prefix/bin/ormd" "$prefix/bin/ormctl" "$libdir/liborm.a" "$libdir/liborm.so.0" "$libdir/pkgconfig/orm.pc" \
	"$libdir/cmake/orm/ormConfig.cmake" "$prefix/include/orm.h" "$prefix/include/orm/types.h" "$prefix/include/orm/status.h"; do
	[ -e "$file" ] || { echo "not installed: $file"; exit 1; }
done

say "exported symbols"
stray=$( { nm -D --defined-only "$libdir/liborm.so"; nm -g --defined-only "$libdir/liborm.a"; } |
	awk 'NF == 3 && $2 ~ /[TDBRVW]/ { print $3 }' | sed 's/@.*//' | grep -v -E '^orm_|^__(a|t|l)san|^__ubsan|^_Z|^__odr_asan' || true)
[ -z "$stray" ] || { echo "not orm_: $stray"; exit 1; }
if readelf -d "$libdir/liborm.so" | grep -E 'NEEDED.*(sqlite|libpq|mysql|mariadb)'; then
	echo "the client links a database library"
	exit 1
fi

run()
{
	program=$1
	dir=$work/$2
	mkdir "$dir"
	(cd "$dir" && LD_LIBRARY_PATH=$libdir "$program") >"$dir/output" || { cat "$dir/output"; cat "$XDG_RUNTIME_DIR"/ormd/*.log; exit 1; }
	echo 'Alice wrote "Hello, world"' | diff - "$dir/output"
	# The server that was started is the installed one.
	pid=$(sed -n 's/^pid //p' "$dir/blog.db-ormd")
	[ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$prefix/bin/ormd")" ] || { echo "another ormd was started"; exit 1; }
}

say "pkg-config"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
# shellcheck disable=SC2046,SC2086 # several words on purpose
"$compiler" -std=c11 -Wall -Wextra -pedantic -Wconversion -Werror $extra "$source/../../examples/tutorial.c" -o "$work/blog" $(pkg-config --cflags --libs orm)
run "$work/blog" pkgconfig
[ "$(pkg-config --modversion orm)" = "0.1.0" ]

say "find_package"
cmake -S "$source/project" -B "$work/project" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" \
	-DEXTRA_FLAGS="$(echo "$extra" | tr ' ' ';')" >"$work/configure.log" || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/project" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
run "$work/project/blog" cmake

say "static library"
if readelf -d "$work/project/blog_static" | grep -q liborm; then
	echo "blog_static needs liborm.so"
	exit 1
fi
export ORMD="$prefix/bin/ormd"
run "$work/project/blog_static" static
say "done"
