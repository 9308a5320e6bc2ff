/* SPDX-License-Identifier: MIT */
/* The threads that handlers run on: one FIFO queue, whoever is idle takes the next. */
#include <signal.h>
#include <stdlib.h>

#include "rpc/server_internal.h"

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
	workers->n_threads = 0;
	free(workers->threads);
	workers->threads = NULL;
}

static void *work(void *arg)
{
	rpc_workers *workers = arg;
	working_for = workers;
	pthread_mutex_lock(&workers->lock);
	for (;;) {
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
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}
