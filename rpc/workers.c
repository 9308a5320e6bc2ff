/* SPDX-License-Identifier: MIT */
/* The threads that handlers run on: one FIFO queue, whoever is idle takes the next. */
#include <signal.h>
#include <stdlib.h>

#include "rpc/server_internal.h"

#define MAX_SUBSTITUTES 1024

static _Thread_local const rpc_workers *working_for;

static void *work(void *arg);

bool rpc_workers_start(rpc_workers *workers, size_t n)
{
	workers->threads = calloc(n, sizeof *workers->threads);
	if (!workers->threads)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (pthread_create(&workers->threads[i], NULL, work, workers) != 0)
			break;
		workers->n_threads++;
	}
	return workers->n_threads > 0; /* fewer than asked for still serve */
}

void rpc_workers_put(rpc_workers *workers, rpc_work *item)
{
	item->next = NULL;
	pthread_mutex_lock(&workers->lock);
	if (workers->last)
		workers->last->next = item;
	else
		workers->first = item;
	workers->last = item;
	bool wake = workers->n_idle > 0;
	pthread_mutex_unlock(&workers->lock);
	if (wake)
		pthread_cond_signal(&workers->wake);
}

bool rpc_workers_is_one(const rpc_workers *workers)
{
	return working_for == workers;
}

void rpc_workers_end(rpc_workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	workers->ending = true;
	pthread_cond_broadcast(&workers->wake);
	pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->n_threads; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_mutex_lock(&workers->lock);
	while (workers->n_substitutes > 0)
		pthread_cond_wait(&workers->gone, &workers->lock);
	pthread_mutex_unlock(&workers->lock);
	workers->n_threads = 0;
	free(workers->threads);
	workers->threads = NULL;
}

/* ---- who waits ---- */

/* Those that do not wait. Locked. */
static size_t n_free(const rpc_workers *workers)
{
	return workers->n_threads + workers->n_substitutes - workers->n_waiting;
}

static void *substitute(void *arg);

/* Locked. */
static void start_substitute(rpc_workers *workers)
{
	pthread_attr_t attributes;
	pthread_t thread;

	if (workers->n_substitutes == MAX_SUBSTITUTES || pthread_attr_init(&attributes) != 0)
		return;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, substitute, workers) == 0)
		workers->n_substitutes++;
	pthread_attr_destroy(&attributes);
}

bool rpc_workers_begin_wait(rpc_workers *workers)
{
	if (!rpc_workers_is_one(workers))
		return true;
	pthread_mutex_lock(&workers->lock);
	workers->n_waiting++;
	if (n_free(workers) < workers->n_threads)
		start_substitute(workers);

	const bool any = n_free(workers) > 0;

	pthread_mutex_unlock(&workers->lock);
	return any;
}

void rpc_workers_end_wait(rpc_workers *workers)
{
	if (!rpc_workers_is_one(workers))
		return;
	pthread_mutex_lock(&workers->lock);
	workers->n_waiting--;
	pthread_mutex_unlock(&workers->lock);
}

/* ---- what they do ---- */

/* Some are kept: who waits once does so again. Locked. */
static bool is_superfluous(const rpc_workers *workers, bool is_substitute)
{
	return is_substitute && n_free(workers) > 2 * workers->n_threads;
}

static void run_items(rpc_workers *workers, bool is_substitute)
{
	working_for = workers;
	pthread_mutex_lock(&workers->lock);
	while (!is_superfluous(workers, is_substitute)) {
		while (!workers->first && !workers->ending) {
			workers->n_idle++;
			pthread_cond_wait(&workers->wake, &workers->lock);
			workers->n_idle--;
		}
		rpc_work *item = workers->first;
		if (!item)
			break;
		workers->first = item->next;
		if (!workers->first)
			workers->last = NULL;
		pthread_mutex_unlock(&workers->lock);
		item->run(item);
		pthread_mutex_lock(&workers->lock);
	}
	if (is_substitute) {
		workers->n_substitutes--;
		pthread_cond_signal(&workers->gone);
	}
	pthread_mutex_unlock(&workers->lock);
}

static void *work(void *arg)
{
	run_items(arg, false);
	return NULL;
}

static void *substitute(void *arg)
{
	run_items(arg, true);
	return NULL;
}
