/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>

bool orm_thread_start(pthread_t *thread, void *(*function)(void *), void *context)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	const bool started = pthread_create(thread, NULL, function, context) == 0;

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}
