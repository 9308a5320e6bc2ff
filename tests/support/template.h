/* SPDX-License-Identifier: MIT */
/*
 * Directories that take long to make, such as a database server's empty data: made once for a build directory
 * ($ORMD_TEST_ENGINES, which ctest sets), and copied. Where that is not set, each is made anew.
 */
#ifndef SUPPORT_TEMPLATE_H
#define SUPPORT_TEMPLATE_H

/* Makes and fills the directory `path`, or does not return. */
typedef void support_make_directory(const char *path);

/* Make the directory `path`, which does not exist yet, as `make` does. `name` is the template's. */
void support_from_template(const char *name, const char *path, support_make_directory *make);

#endif
