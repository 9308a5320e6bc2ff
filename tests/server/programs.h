/* SPDX-License-Identifier: MIT */
/* Running ormd and ormctl to their end, and what they said. */
#ifndef TESTS_SERVER_PROGRAMS_H
#define TESTS_SERVER_PROGRAMS_H

#include "support/tempdir.h"

typedef struct program_result {
	int code;     /* exit status; 128 + n for signal n */
	char *output; /* standard output and error, as they came; owned */
} program_result;

/* Run `program` (a path) with these arguments (after argv[0], ending with NULL); output goes through a file in `dir`.
 * Fails the test if it does not end. */
program_result run_program(const char *dir, const char *program, const char *const *args);
void program_result_fini(program_result *result);

/* Of the programs under test; exits if the environment does not name them. */
const char *ormd_path(void);
const char *ormctl_path(void);

/* Fails the test unless `part` is in the output. */
void assert_output_has(const program_result *result, const char *part);

#endif
