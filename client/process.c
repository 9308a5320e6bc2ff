/* SPDX-License-Identifier: MIT */
#include "client/process.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

_Atomic(uint64_t) *process_page;

static pthread_once_t page_made = PTHREAD_ONCE_INIT;

static void make_page(void)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, size, MADV_WIPEONFORK) < 0)
		munmap(page, size);
	else
		process_page = page;
}

uint64_t process_identity(void)
{
	static _Atomic(uint64_t) last; /* children go on counting where the parent was */
	uint64_t identity = 0;

	pthread_once(&page_made, make_page);
	if (!process_page)
		return (uint64_t)getpid();
	if (!atomic_load(process_page))
		atomic_compare_exchange_strong(process_page, &identity, atomic_fetch_add(&last, 1) + 1);
	return atomic_load(process_page);
}

bool process_is_slowly(uint64_t identity)
{
	return (uint64_t)getpid() == identity;
}
