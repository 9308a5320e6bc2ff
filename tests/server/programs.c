/* SPDX-License-Identifier: MIT */
#include "programs.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/process.h"

#define MAX_ARGS 24

program_result run_program(const char *dir, const char *program, const char *const *args)
{
	const char *argv[MAX_ARGS + 2] = {program};
	char path[SUPPORT_PATH_SIZE];
	program_result result = {0};
	int status;

	for (int i = 0; args[i]; i++) {
		assert_true(i < MAX_ARGS);
		argv[i + 1] = args[i];
	}
	unlink(support_join(path, dir, "output"));
	status = support_run(&(support_command){.argv = argv, .stdout_path = path, .stderr_path = path},
			     SUPPORT_PATIENCE_MS);
	if (status == -1)
		fail_msg("%s did not end, or did not start", program);
	result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	result.output = support_read_file(path, NULL);
	assert_non_null(result.output);
	return result;
}

void program_result_fini(program_result *result)
{
	free(result->output);
	*result = (program_result){0};
}

static const char *path_of(const char *name)
{
	const char *path = getenv(name);

	if (!path || !*path)
		support_die("%s is not set to the path of the program; run the test through ctest", name);
	return path;
}

const char *ormd_path(void)
{
	return path_of("ORMD");
}

const char *ormctl_path(void)
{
	return path_of("ORMCTL");
}

void assert_output_has(const program_result *result, const char *part)
{
	if (!strstr(result->output, part))
		fail_msg("'%s' is not in the output:\n%s", part, result->output);
}
