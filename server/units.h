/* SPDX-License-Identifier: MIT */
/* Durations, sizes and numbers as people write them in options. Pure text to number; false when it is not one. */
#ifndef ORMD_SERVER_UNITS_H
#define ORMD_SERVER_UNITS_H

#include <stdbool.h>
#include <stdint.h>

bool ormd_parse_number(const char *text, int64_t *number);         /* "12": decimal digits, nothing else */
bool ormd_parse_duration(const char *text, int64_t *milliseconds); /* "500ms", "30s", "5m", "2h", "0" */
bool ormd_parse_size(const char *text, int64_t *bytes);            /* "4096", "64KiB", "16MiB", "1GiB" */
bool ormd_parse_octal(const char *text, int64_t *number);          /* "0600" */

#endif
