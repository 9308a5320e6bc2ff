/* SPDX-License-Identifier: MIT */
#include "support/proxy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/tempdir.h"

#define MAX_LINES 64

/* One client's connection. */
typedef struct line {
	int fds[2]; /* the client's, the server's */
} line;

struct support_proxy {
	const char *directory;
	char target[SUPPORT_PATH_SIZE];
	int listen_fd;
	int wake_fd;
	pthread_t thread;
	line lines[MAX_LINES]; /* the thread's */
	size_t n_lines;

	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t heeded;
	bool ending, hang_up;
	int left; /* messages until the cut; 0: none */
	support_cut cut;
	bool has_cut;
};

/* ---- the thread's ------------------------------------------------------------------------------------------------ */

static void set_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address->sun_path)
		support_die("the path of a socket is too long: %s", path);
	memcpy(address->sun_path, path, strlen(path) + 1);
}

static void take_client(support_proxy *proxy)
{
	const int client = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	set_address(&address, proxy->target);
	if (client >= 0 && server >= 0 && proxy->n_lines < MAX_LINES &&
	    connect(server, (struct sockaddr *)&address, sizeof address) == 0) {
		proxy->lines[proxy->n_lines++] = (line){{client, server}};
		return;
	}
	close(client);
	close(server);
}

static void hang_up(support_proxy *proxy, size_t i)
{
	close(proxy->lines[i].fds[0]);
	close(proxy->lines[i].fds[1]);
	proxy->lines[i] = proxy->lines[--proxy->n_lines];
}

/* Is this message the one? */
static bool is_due(support_proxy *proxy, support_cut *cut)
{
	pthread_mutex_lock(&proxy->lock);

	const bool due = proxy->left > 0 && --proxy->left == 0;

	proxy->has_cut = proxy->has_cut || due;
	*cut = proxy->cut;
	pthread_mutex_unlock(&proxy->lock);
	return due;
}

static bool pass_on(int fd, const char *data, size_t size)
{
	while (size > 0) {
		const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* False: the line is over. */
static bool relay(support_proxy *proxy, int from, int to)
{
	static _Thread_local char data[65536];
	const ssize_t size = read(from, data, sizeof data);
	support_cut cut;

	if (size <= 0)
		return false;
	if (!is_due(proxy, &cut))
		return pass_on(to, data, (size_t)size);
	if (cut == SUPPORT_CUT_AFTER)
		pass_on(to, data, (size_t)size);
	return false;
}

/* False: the end. */
static bool heed(support_proxy *proxy)
{
	uint64_t ignored;
	const ssize_t size = read(proxy->wake_fd, &ignored, sizeof ignored);

	pthread_mutex_lock(&proxy->lock);
	while (size > 0 && proxy->hang_up && proxy->n_lines > 0)
		hang_up(proxy, 0);
	proxy->hang_up = false;
	pthread_cond_broadcast(&proxy->heeded);

	const bool goes_on = !proxy->ending;

	pthread_mutex_unlock(&proxy->lock);
	return goes_on;
}

static void *serve(void *context)
{
	support_proxy *proxy = context;
	bool goes_on = true;

	while (goes_on) {
		struct pollfd fds[2 + 2 * MAX_LINES] = {{.fd = proxy->listen_fd, .events = POLLIN},
							{.fd = proxy->wake_fd, .events = POLLIN}};
		const size_t n_lines = proxy->n_lines;

		for (size_t i = 0; i < 2 * n_lines; i++)
			fds[2 + i] = (struct pollfd){.fd = proxy->lines[i / 2].fds[i % 2], .events = POLLIN};
		if (poll(fds, 2 + 2 * n_lines, -1) < 0)
			continue;
		/* From the last: a line that is over is replaced by the last one, which has had its turn. */
		for (size_t i = n_lines; i-- > 0;) {
			const line *l = &proxy->lines[i];
			bool open = true;

			for (int side = 0; side < 2 && open; side++)
				if (fds[2 + 2 * i + (size_t)side].revents)
					open = relay(proxy, l->fds[side], l->fds[!side]);
			if (!open)
				hang_up(proxy, i);
		}
		if (fds[0].revents)
			take_client(proxy);
		if (fds[1].revents)
			goes_on = heed(proxy);
	}
	while (proxy->n_lines > 0)
		hang_up(proxy, 0);
	return NULL;
}

/* ---- the test's -------------------------------------------------------------------------------------------------- */

support_proxy *support_proxy_start(const char *url, char through[ENGINE_URL_SIZE])
{
	const bool is_postgresql = engine_of(url) == ENGINE_POSTGRESQL;
	const char *place = strstr(url, is_postgresql ? "host=" : "socket=");
	support_proxy *proxy = calloc(1, sizeof *proxy);
	char path[SUPPORT_PATH_SIZE];
	struct sockaddr_un address;

	if (!place || !proxy)
		support_die("no proxy for %s", url);
	place = strchr(place, '=') + 1;
	proxy->directory = support_tempdir();
	support_join(path, proxy->directory, is_postgresql ? ".s.PGSQL.5432" : "socket");
	snprintf(proxy->target, sizeof proxy->target, "%s%s", place, is_postgresql ? "/.s.PGSQL.5432" : "");
	snprintf(through, ENGINE_URL_SIZE, "%.*s%s", (int)(place - url), url, is_postgresql ? proxy->directory : path);
	set_address(&address, path);
	proxy->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	proxy->wake_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&proxy->lock, NULL);
	pthread_cond_init(&proxy->heeded, NULL);
	if (bind(proxy->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(proxy->listen_fd, MAX_LINES) != 0 || pthread_create(&proxy->thread, NULL, serve, proxy) != 0)
		support_die("cannot serve %s: %s", path, strerror(errno));
	return proxy;
}

/* Locked. */
static void wake(support_proxy *proxy)
{
	const uint64_t one = 1;

	if (write(proxy->wake_fd, &one, sizeof one) != sizeof one)
		support_die("cannot wake the proxy: %s", strerror(errno));
}

void support_proxy_stop(support_proxy *proxy)
{
	if (!proxy)
		return;
	pthread_mutex_lock(&proxy->lock);
	proxy->ending = true;
	wake(proxy);
	pthread_mutex_unlock(&proxy->lock);
	pthread_join(proxy->thread, NULL);
	close(proxy->listen_fd);
	close(proxy->wake_fd);
	pthread_cond_destroy(&proxy->heeded);
	pthread_mutex_destroy(&proxy->lock);
	support_tempdir_remove(proxy->directory);
	free(proxy);
}

void support_proxy_arm(support_proxy *proxy, int n, support_cut cut)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->hang_up = true;
	wake(proxy);
	while (proxy->hang_up)
		pthread_cond_wait(&proxy->heeded, &proxy->lock);
	proxy->left = n;
	proxy->cut = cut;
	proxy->has_cut = false;
	pthread_mutex_unlock(&proxy->lock);
}

bool support_proxy_disarm(support_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->left = 0;

	const bool has_cut = proxy->has_cut;

	pthread_mutex_unlock(&proxy->lock);
	return has_cut;
}
