/*
 * json_same.h - checks that a file's JSON is what this version would write.
 *
 * Used by: program_file.c.  Tests: tests/formats/test_program_file.c.
 */
#ifndef DT_JSON_SAME_H
#define DT_JSON_SAME_H

#include <cjson/cJSON.h>

#include "detent/status.h"

/* Compares two values, whose fields may stand in any order. where is the place of both. DT_ERR_FORMAT names file, place
 * ("graph.nodes[3].stride") and what differs: a value, or a field that is missing, double or superfluous. */
DT_MUST_CHECK dt_status dt_json_same(const char *file, const char *where, const cJSON *found, const cJSON *expected);

#endif /* DT_JSON_SAME_H */
