/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <uniwidth.h>

#include "server/ormctl.h"

void ormctl_table_init(ormctl_table *table, const char *const *headings, size_t n_columns)
{
	*table = (ormctl_table){.headings = headings, .n_columns = n_columns};
}

void ormctl_table_fini(ormctl_table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (ormctl_table){0};
}

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void ormctl_table_add(ormctl_table *table, const char *format, ...)
{
	char *cell = NULL;
	va_list args;

	if (table->failed)
		return;

	char **grown = realloc(table->cells, (table->n_cells + 1) * sizeof *grown);

	if (grown)
		table->cells = grown;
	va_start(args, format);
	if (!grown || vasprintf(&cell, format, args) < 0)
		table->failed = true;
	va_end(args);
	if (table->failed)
		return;
	clean(cell);
	table->cells[table->n_cells++] = cell;
}

static size_t width_of(const char *text)
{
	const int width = u8_strwidth((const uint8_t *)text, "UTF-8");

	return width > 0 ? (size_t)width : 0;
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
	const size_t own = width_of(text);
	const int padding = width > own ? (int)(width - own) : 0;

	if (right)
		printf("%*s%s", padding, "", text);
	else
		printf("%s%*s", text, last ? 0 : padding, "");
	fputs(last ? "\n" : "  ", stdout);
}

int ormctl_table_print(const ormctl_table *table)
{
	size_t *widths = calloc(table->n_columns, sizeof *widths);

	if (table->failed || !widths) {
		free(widths);
		return ormctl_fail(EX_OSERR, "out of memory");
	}
	for (size_t k = 0; k < table->n_columns; k++)
		widths[k] = width_of(table->headings[k] + (table->headings[k][0] == '>'));
	for (size_t i = 0; i < table->n_cells; i++) {
		const size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->n_columns])
			widths[i % table->n_columns] = width;
	}
	for (size_t k = 0; k < table->n_columns; k++) {
		const bool right = table->headings[k][0] == '>';

		print_cell(table->headings[k] + right, widths[k], right, k + 1 == table->n_columns);
	}
	for (size_t i = 0; i < table->n_cells; i++) {
		const size_t k = i % table->n_columns;

		print_cell(table->cells[i], widths[k], table->headings[k][0] == '>', k + 1 == table->n_columns);
	}
	free(widths);
	return ORMCTL_OK;
}

const char *ormctl_duration(uint64_t milliseconds, char text[ORMCTL_TEXT_SIZE])
{
	const uint64_t seconds = milliseconds / 1000;

	if (milliseconds < 1000)
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 "ms", milliseconds);
	else if (seconds < 60)
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 ".%" PRIu64 "s", seconds, milliseconds % 1000 / 100);
	else if (seconds < 3600)
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds % 3600 / 60);
	else
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 "d%02" PRIu64 "h", seconds / 86400, seconds % 86400 / 3600);
	return text;
}

const char *ormctl_size(uint64_t bytes, char text[ORMCTL_TEXT_SIZE])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double number = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(text, ORMCTL_TEXT_SIZE, "%" PRIu64 " B", bytes);
		return text;
	}
	for (; number >= 1024 && i + 1 < sizeof units / sizeof *units; i++)
		number /= 1024;
	snprintf(text, ORMCTL_TEXT_SIZE, "%.1f %s", number, units[i]);
	return text;
}

const char *ormctl_clean(const char *text, orm_arena *arena)
{
	char *copy = orm_arena_strdup(arena, text);

	if (!copy)
		return "";
	clean(copy);
	return copy;
}
