/*
 * program_json.h - the numbers and words of a program as JSON; its arrays are tensors of the same file.
 *
 * Strict both ways: what writing accepts reading accepts; reading refuses unknown, missing and repeated fields.
 * Used by: program_file.c.  Tests: tests/test_program_file.c.
 */
#ifndef DT_PROGRAM_JSON_H
#define DT_PROGRAM_JSON_H

#include <cjson/cJSON.h>

#include "../quant/program.h"

/* Adds the fields to an empty object. DT_ERR_ARGUMENT names a value that no reader would take. */
DT_MUST_CHECK dt_status dt_program_to_json(const dt_program *p, cJSON *object);
/* Fills a zeroed program; file is for messages. layer[] is made and its arrays are NULL; on failure too, p holds what
 * dt_program_destroy releases. Every in[] names an earlier layer. */
DT_MUST_CHECK dt_status dt_program_from_json(const cJSON *object, const char *file, dt_program *p);

#endif /* DT_PROGRAM_JSON_H */
