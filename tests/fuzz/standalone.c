/* SPDX-License-Identifier: MIT */
/*
 * Drives a fuzz target where there is no libFuzzer, with its options: files named on the command line are run as they
 * are; without any, -runs=N inputs are made from -seed=N. Which input fails is known by the run's number and the seed
 * alone.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZE ((size_t)4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Memory of just its size, so that a sanitizer sees a byte read too many. */
static void run_one(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* Mostly short, and in part small numbers, which decoders take for lengths and numbers of fields. */
static void run_random(uint64_t *state)
{
	uint8_t data[MAX_SIZE];
	const uint64_t shape = next_random(state);
	const size_t size = (size_t)(next_random(state) % (shape % 16 == 0 ? MAX_SIZE : 128));

	for (size_t i = 0; i < size; i++) {
		const uint64_t random = next_random(state);

		data[i] = (uint8_t)(random >> 8 & (random & shape & 3 ? 0xff : 0x1f));
	}
	run_one(data, size);
}

static int run_file(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *file = fopen(path, "rb");

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}

	const size_t size = fread(data, 1, sizeof data, file);

	fclose(file);
	run_one(data, size);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long long runs = 1000;
	unsigned long long seed = 1;
	int failures = 0;
	int files = 0;

	for (int i = 1; i < argc; i++) {
		if (sscanf(argv[i], "-runs=%llu", &runs) == 1 || sscanf(argv[i], "-seed=%llu", &seed) == 1)
			continue;
		if (argv[i][0] == '-')
			continue; /* libFuzzer's other options mean nothing here */
		failures += run_file(argv[i]);
		files++;
	}
	if (files == 0) {
		uint64_t state = seed;

		for (unsigned long long i = 0; i < runs; i++)
			run_random(&state);
		printf("%llu inputs from seed %llu\n", runs, seed);
	}
	return failures > 0;
}
