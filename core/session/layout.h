/* SPDX-License-Identifier: MIT */
/*
 * Where each column's cell lies in a record of one mapper; computed once per session and mapper.
 *
 * A record: uint32_t size; the ends of the variable cells (texts, bytes), uint32_t each, in column order; null bits;
 * unset bits (only where `has_unset`); fixed cells, packed; then the variable ones themselves, texts with their NUL.
 * Nothing is aligned: cells are read with memcpy.
 */
#ifndef ORMD_SESSION_LAYOUT_H
#define ORMD_SESSION_LAYOUT_H

#include "model/registry.h"

typedef struct ormd_cell {
	uint32_t offset; /* fixed: of the cell; text and bytes: of the uint32_t that says where its bytes end; both from
			    the record's start */
	uint8_t type;    /* orm_type */
	bool variable;
	bool text;  /* ends in a NUL */
	bool first; /* the first variable cell: its bytes start at layout->fixed_size */
} ormd_cell;

typedef struct ormd_layout {
	const orm_mapper *mapper;
	uint16_t n_columns;
	uint16_t n_variable;
	uint16_t bits_size;     /* bytes of one bitmap of the columns */
	bool has_unset;         /* some column has a server default or is the version: "unset" differs from NULL */
	bool integer_key;       /* one integer column: fast paths */
	uint32_t nulls;         /* offset of the null bits */
	uint32_t unset;         /* offset of the unset bits, if has_unset */
	uint32_t fixed_size;    /* where the variable bytes start: the smallest record */
	const ormd_cell *cells; /* per column */
} ormd_layout;

/* In `arena`; false when out of memory. */
bool ormd_layout_init(ormd_layout *layout, const orm_mapper *mapper, orm_arena *arena);

#endif
