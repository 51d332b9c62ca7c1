/*
 * json_same.h - is a file's JSON just what this version would write?
 *
 * Used by: program_file.c.  Tests: tests/formats/test_program_file.c.
 */
#ifndef DT_JSON_SAME_H
#define DT_JSON_SAME_H

#include <cjson/cJSON.h>

#include "detent/status.h"

/* Fields may stand in any order. DT_ERR_FORMAT names file, place ("graph.nodes[3].stride") and what differs: a field
 * that is missing, stands there twice or is of no use, or a value. where: the place of the two. */
DT_MUST_CHECK dt_status dt_json_same(const char *file, const char *where, const cJSON *found, const cJSON *expected);

#endif /* DT_JSON_SAME_H */
