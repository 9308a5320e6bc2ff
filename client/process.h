/* SPDX-License-Identifier: MIT */
/*
 * Which process is this? After fork() the child has copies of the parent's connections and must not touch their
 * sockets. Every call asks, so it must cost nothing: a page that the kernel wipes in children is read, rather than the
 * process id, which takes a system call.
 */
#ifndef CLIENT_PROCESS_H
#define CLIENT_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern _Atomic(uint64_t)
	*process_page; /* holds this process's identity; wiped by fork(). NULL where the kernel cannot do that */

/* A number that no other process shares which descends from this one or from which this one descends. Never 0. Any
 * thread. */
uint64_t process_identity(void);

bool process_is_slowly(uint64_t identity);

/* Was `identity` asked for in this process? False in a child that was forked since. */
static inline bool process_is(uint64_t identity)
{
	if (process_page)
		return atomic_load_explicit(process_page, memory_order_relaxed) == identity;
	return process_is_slowly(identity);
}

#endif
