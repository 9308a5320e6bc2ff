/* SPDX-License-Identifier: MIT */
#include "sql/dialect.h"

#include "model/fail.h"

orm_status ormd_dialect_check(const ormd_dialect *dialect, const orm_registry *registry, orm_error *error)
{
	for (size_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *mapper = &registry->mappers[i];

		for (size_t j = 0; j < mapper->n_columns; j++) {
			const orm_column *column = &mapper->columns[j];

			if (column->type == ORM_DECIMAL && column->precision > dialect->max_precision)
				return orm_fail_at(
					error, ORM_EUNSUPPORTED, mapper->name, column->name,
					"the column has decimals of %u digits, but %s keeps at most %u exactly: "
					"lower its precision, or use another engine",
					(unsigned)column->precision, dialect->name, (unsigned)dialect->max_precision);
		}
	}
	return ORM_OK;
}
