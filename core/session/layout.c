/* SPDX-License-Identifier: MIT */
#include "session/layout.h"

bool ormd_layout_init(ormd_layout *layout, const orm_mapper *mapper, orm_arena *arena)
{
	ormd_cell *cells = orm_arena_calloc(arena, mapper->n_columns, sizeof *cells);
	uint32_t offset = sizeof(uint32_t); /* the record's size */

	if (!cells)
		return false;
	*layout = (ormd_layout){
		.mapper = mapper,
		.n_columns = mapper->n_columns,
		.bits_size = (uint16_t)((mapper->n_columns + 7) / 8),
		.has_unset = mapper->has_defaults || mapper->version != ORM_NO_NUMBER,
		.cells = cells,
	};
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		const orm_type type = mapper->columns[i].type;

		cells[i].type = (uint8_t)type;
		cells[i].variable = orm_type_size(type) == 0;
		cells[i].text = orm_type_is_text(type);
		if (cells[i].variable) {
			cells[i].first = layout->n_variable++ == 0;
			cells[i].offset = offset;
			offset += (uint32_t)sizeof(uint32_t);
		}
	}
	layout->nulls = offset;
	offset += layout->bits_size;
	if (layout->has_unset) {
		layout->unset = offset;
		offset += layout->bits_size;
	}
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (!cells[i].variable) {
			cells[i].offset = offset;
			offset += (uint32_t)orm_type_size((orm_type)cells[i].type);
		}
	}
	layout->fixed_size = offset;
	if (mapper->n_key == 1) {
		const orm_type type = mapper->columns[mapper->key[0]].type;

		layout->integer_key = type == ORM_INT32 || type == ORM_INT64;
	}
	return true;
}
