/* SPDX-License-Identifier: MIT */
/* Models as people look at them: a list, or an entity-relationship diagram for Graphviz (DOT) or Mermaid. */
#ifndef ORMD_SERVER_SCHEMA_TEXT_H
#define ORMD_SERVER_SCHEMA_TEXT_H

#include "base/buffer.h"
#include "proto/ormd.pb-c.h"

typedef enum schema_format { SCHEMA_TEXT, SCHEMA_DOT, SCHEMA_MERMAID } schema_format;

/* "text", "dot", "mermaid"; false for others. */
bool schema_format_parse(const char *text, schema_format *format);

/*
 * Append to `out`. Models come from a server: whatever is in their names is quoted as the format wants it, and what is
 * missing shows as "?". An edge goes from each foreign key to what it refers to; one to a model that is not among them
 * is left out.
 */
void schema_text_print(Ormd__V1__ModelSpec *const *models, size_t n_models, schema_format format, orm_buffer *out);

#endif
