/* SPDX-License-Identifier: MIT */
#ifndef ORM_BASE_THREAD_H
#define ORM_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Run `function` on a thread that gets none of the process's signals. False: the system has no room for one. */
bool orm_thread_start(pthread_t *thread, void *(*function)(void *), void *context);

#endif
