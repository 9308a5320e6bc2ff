/* SPDX-License-Identifier: MIT */
/* UTF-8 of text vectors: many strings in one run of bytes. Single strings: value.h. */
#ifndef ORM_MODEL_UTF8_H
#define ORM_MODEL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Is all of it good UTF-8, NULs allowed? Since a NUL ends any sequence, each string between NULs then is, too. Counts
 * the NULs. */
bool orm_utf8_check_run(const char *text, size_t size, size_t *n_nuls);

#endif
