/* SPDX-License-Identifier: MIT */
#include "client/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <orm.h>

struct orm_guard_region {
	_Atomic(orm_guard_region *) next;
	char *base;
	size_t size;
	size_t n;
	size_t *offsets;
	const char **texts;
};

/* Changed under the mutex, read by the signal handler without it. */
static _Atomic(orm_guard_region *) regions;
static pthread_mutex_t regions_mutex = PTHREAD_MUTEX_INITIALIZER;

orm_guard_region *orm_guard_region_new(size_t n, const size_t *reach)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	orm_guard_region *region = calloc(1, sizeof *region);

	if (!region)
		return NULL;
	region->n = n;
	region->offsets = calloc(n + 1, sizeof region->offsets[0]);
	region->texts = calloc(n + 1, sizeof region->texts[0]);
	if (!region->offsets || !region->texts)
		goto failed;
	for (size_t i = 0; i < n; i++) {
		region->offsets[i] = region->size;
		region->size += (reach[i] + page - 1) / page * page + page;
	}
	if (n > 0) {
		void *base = mmap(NULL, region->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (base == MAP_FAILED)
			goto failed;
		region->base = base;
	}

	pthread_mutex_lock(&regions_mutex);
	atomic_store(&region->next, atomic_load(&regions));
	atomic_store(&regions, region);
	pthread_mutex_unlock(&regions_mutex);
	return region;

failed:
	free(region->offsets);
	free(region->texts);
	free(region);
	return NULL;
}

void orm_guard_region_free(orm_guard_region *region)
{
	if (!region)
		return;

	_Atomic(orm_guard_region *) *link = &regions;

	pthread_mutex_lock(&regions_mutex);
	while (atomic_load(link) != region)
		link = &atomic_load(link)->next;
	atomic_store(link, atomic_load(&region->next));
	pthread_mutex_unlock(&regions_mutex);

	if (region->base)
		munmap(region->base, region->size);
	free(region->offsets);
	free(region->texts);
	free(region);
}

const void *orm_guard_region_address(const orm_guard_region *region, size_t i)
{
	return region->base + region->offsets[i];
}

void orm_guard_region_explain(orm_guard_region *region, size_t i, const char *text)
{
	region->texts[i] = text;
}

const char *orm_guard_explanation(const void *address)
{
	const uintptr_t at = (uintptr_t)address;

	for (const orm_guard_region *region = atomic_load(&regions); region; region = atomic_load(&region->next)) {
		const uintptr_t base = (uintptr_t)region->base;
		size_t i = region->n;

		if (!base || at < base || at - base >= region->size)
			continue;
		while (i > 0 && region->offsets[i - 1] > at - base)
			i--;
		return i > 0 ? region->texts[i - 1] : NULL;
	}
	return NULL;
}

/* ---- the handler -------------------------------------------------------------------------------------------- */

static struct sigaction previous_segv, previous_bus;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void on_fault(int number, siginfo_t *info, void *context)
{
	const struct sigaction *previous = number == SIGSEGV ? &previous_segv : &previous_bus;
	const char *text = orm_guard_explanation(info->si_addr);
	const int saved_errno = errno;

	if (text && write(STDERR_FILENO, text, strlen(text)) < 0) {
		/* The text could not be shown; the program dies of the fault as it would have anyway. */
	}
	errno = saved_errno;

	if (previous->sa_flags & SA_SIGINFO) {
		previous->sa_sigaction(number, info, context);
	} else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
		previous->sa_handler(number);
	} else {
		struct sigaction standard = {.sa_handler = SIG_DFL};

		/* The instruction faults again on return, now without us: the core dump shows it. */
		sigemptyset(&standard.sa_mask);
		sigaction(number, &standard, NULL);
		if (info->si_code <= 0) /* sent by somebody, so that nothing would fault again */
			raise(number);
	}
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &previous_segv);
	sigaction(SIGBUS, &action, &previous_bus);
}

void orm_explain_faults(void)
{
	pthread_once(&installed, install);
}
