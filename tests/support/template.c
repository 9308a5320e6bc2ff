/* SPDX-License-Identifier: MIT */
#include "support/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/process.h"
#include "support/tempdir.h"

static void copy(const char *from, const char *to)
{
	const char *const argv[] = {"cp", "-a", "--reflink=auto", from, to, NULL};

	if (support_run(&(support_command){.argv = argv}, SUPPORT_PATIENCE_MS) != 0)
		support_die("cannot copy %s to %s", from, to);
}

/* Under a name of our own first: others may be doing the same. */
static void keep(const char *path, const char *kept)
{
	char ours[SUPPORT_PATH_SIZE + 16];
	const char *const argv[] = {"rm", "-rf", ours, NULL};

	snprintf(ours, sizeof ours, "%s.%ld", kept, (long)getpid());
	copy(path, ours);
	if (rename(ours, kept) != 0)
		support_run(&(support_command){.argv = argv}, SUPPORT_PATIENCE_MS);
}

void support_from_template(const char *name, const char *path, support_make_directory *make)
{
	const char *templates = getenv("ORMD_TEST_ENGINES");
	char kept[SUPPORT_PATH_SIZE];

	if (!templates) {
		make(path);
	} else if (access(support_join(kept, templates, name), R_OK) == 0) {
		copy(kept, path);
	} else {
		make(path);
		keep(path, kept);
	}
}
