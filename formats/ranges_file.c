/*
 * ranges_file.c - see ranges_file.h.
 *
 * Tests: tests/formats/test_ranges_file.c.
 */
#include "ranges_file.h"

#include "json_file.h"
#include "json_value.h"

#include <math.h>
#include <string.h>

enum { TEXT_BYTES = 96 };

/* What is read of a file. */
typedef struct {
    const char *path;
    const dt_graph *graph;
    char *has;
    dt_range *range;
} reader;

static int has_range(const dt_graph *g, int value)
{
    return value == g->image || g->value[value]->source == DT_SOURCE_NODE;
}

static int is_float(double x)
{
    return isfinite((float)x); /* after rounding: 3.4028235e38 is written for the largest float */
}

/* Both numbers are floats, and in order. */
static int is_range(double min, double max)
{
    return is_float(min) && is_float(max) && min <= max;
}

static dt_status read_range(const reader *r, const cJSON *item)
{
    const int value = dt_graph_find(r->graph, item->string);
    const cJSON *min = cJSON_GetArrayItem(item, 0), *max = cJSON_GetArrayItem(item, 1);
    char text[TEXT_BYTES];

    DT_CHECK(value >= 0 && has_range(r->graph, value), DT_ERR_FORMAT,
             "%s: '%s' is no value that %s makes; detent inspect --graph lists them", r->path, item->string,
             r->graph->name);
    DT_CHECK(!r->has[value], DT_ERR_FORMAT, "%s: '%s' stands twice, with [%.9g, %.9g] and %s", r->path, item->string,
             (double)r->range[value].min, (double)r->range[value].max, dt_json_text(item, text, sizeof text));
    DT_CHECK(cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && cJSON_IsNumber(min) && cJSON_IsNumber(max),
             DT_ERR_FORMAT, "%s: '%s' is %s, expected [min, max]", r->path, item->string,
             dt_json_text(item, text, sizeof text));
    DT_CHECK(is_range(min->valuedouble, max->valuedouble), DT_ERR_FORMAT,
             "%s: '%s' is [%.9g, %.9g], expected finite floats with min <= max", r->path, item->string,
             min->valuedouble, max->valuedouble);
    r->has[value] = 1;
    r->range[value] = (dt_range){ (float)min->valuedouble, (float)max->valuedouble };
    return DT_OK;
}

static dt_status read_all(const reader *r, const cJSON *root)
{
    const cJSON *item;
    char text[TEXT_BYTES];

    DT_CHECK(cJSON_IsObject(root), DT_ERR_FORMAT, "%s: is %s, expected { \"VALUE\": [min, max], .. }", r->path,
             dt_json_text(root, text, sizeof text));
    cJSON_ArrayForEach(item, root) DT_TRY(read_range(r, item));
    return DT_OK;
}

dt_status dt_ranges_file_read(const char *path, const dt_graph *g, char *has, dt_range *range)
{
    const size_t n = (size_t)g->n_values;
    cJSON *root;

    DT_TRY(dt_json_file_read(path, &root));
    reader r = { path, g, calloc(n, 1), calloc(n, sizeof(dt_range)) };
    dt_status status = r.has && r.range
                           ? read_all(&r, root)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the ranges of %s", path);
    if (status == DT_OK) {
        memcpy(has, r.has, n);
        memcpy(range, r.range, n * sizeof *range);
    }
    free(r.range);
    free(r.has);
    cJSON_Delete(root);
    DT_TRY(status);
    return DT_OK;
}
