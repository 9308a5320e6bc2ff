# SPDX-License-Identifier: MIT
# Sourced by quickstart: a database server of one's own in a directory, reached by a socket there, as an unprivileged user.
#
# start_private_server postgresql|mariadb DIRECTORY    sets server_url; the directory is given to that user
# stop_private_server                                  waits for its end

private_server=

# In place of the shell, so that $! of a subshell is the server: for subshells only.
as_nobody() {
	if [ "$(id -u)" -eq 0 ]; then
		exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
	else
		exec "$@"
	fi
}

await_server() { # await_server COMMAND...: until it succeeds, for half a minute
	tries=300
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ] || ! kill -0 "$private_server" 2>/dev/null; then
			cat "$server_directory/log" >&2
			return 1
		fi
		sleep 0.1
	done
}

start_private_server() {
	server_directory=$2
	mkdir -p "$server_directory"
	[ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$server_directory"
	case $1 in
	postgresql)
		postgresql=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
		(cd "$server_directory" && as_nobody "$postgresql/initdb" -D "$server_directory/data" -U ormd -A trust -E UTF8 --locale=C.UTF-8 >"$server_directory/log" 2>&1)
		(cd "$server_directory" && as_nobody "$postgresql/postgres" -D "$server_directory/data" -k "$server_directory" -c listen_addresses= >>"$server_directory/log" 2>&1) &
		private_server=$!
		await_server "$postgresql/pg_isready" -h "$server_directory" -U ormd
		server_url="postgresql://ormd@/postgres?host=$server_directory"
		;;
	mariadb)
		(cd "$server_directory" && as_nobody mariadb-install-db --no-defaults --datadir="$server_directory/data" --tmpdir="$server_directory" \
			--auth-root-authentication-method=normal --skip-test-db >"$server_directory/log" 2>&1)
		(cd "$server_directory" && as_nobody mariadbd --no-defaults --datadir="$server_directory/data" --tmpdir="$server_directory" \
			--socket="$server_directory/socket" --pid-file="$server_directory/pid" --skip-networking >>"$server_directory/log" 2>&1) &
		private_server=$!
		await_server mariadb --no-defaults --socket="$server_directory/socket" -u root -e 'CREATE DATABASE IF NOT EXISTS shop'
		server_url="mariadb://root@localhost/shop?socket=$server_directory/socket"
		;;
	esac
}

stop_private_server() {
	[ -n "$private_server" ] || return 0
	kill "$private_server" 2>/dev/null || true
	wait "$private_server" 2>/dev/null || true
	private_server=
}
