/*
 * test_extraction_file.c - the files of an extraction, read back: every cell of the CSV files has the numbers that were
 * extracted, bit for bit and in the shape that the safetensors file has; and the names of rows and columns.
 */
#include <math.h>

#include "../support/extraction_rig.h"
#include "../support/temp_files.h"
#include "../../formats/safetensors.h"

TestSuite(extraction_file, .init = temp_make, .fini = temp_remove);

enum { MOST_FIELDS = 6, TEXT_BYTES = 1 << 16 };

static extraction_rig rig;
static dt_extracted extracted;
static dt_safetensors *tensors;

static void write_files(dt_extraction how)
{
    char path[TEMP_PATH_BYTES + 64];
    dt_extraction_counts counts;
    rig = extraction_open(1);
    MUST(dt_extract(rig.model, &how, &extracted));
    MUST(dt_quantized_extract(rig.model, &how, temp_path("made/here"), &counts));
    cr_assert(counts.n_layers == 5 && counts.n_activations == 7);
    snprintf(path, sizeof path, "%s/made/here/extracted.safetensors", temp_folder);
    MUST(dt_safetensors_open(path, &tensors));
}

static void close_files(void)
{
    dt_safetensors_close(tensors);
    dt_extracted_free(&extracted);
    extraction_close(&rig);
}

static char *read_file(const char *name)
{
    static char text[TEXT_BYTES];
    char path[TEMP_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/made/here/%s", temp_folder, name);
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s", path);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    cr_assert(n < sizeof text - 1 && n > 0 && text[n - 1] == '\n', "%s", path);
    return text;
}

/* Cuts a line into fields, and takes their quotes off; returns how many. None of these has a quote inside. */
static int split(char *line, char **field)
{
    int n = 0;
    for (char *p = line; p != NULL;) {
        const int quoted = *p == '"';
        char *end = quoted ? strchr(p + 1, '"') : p + strcspn(p, ",");
        cr_assert(end != NULL && n < MOST_FIELDS);
        field[n++] = p + quoted;
        char *next = end + quoted;
        cr_assert(next[0] == ',' || next[0] == '\0', "'%s' ends in '%s'", field[n - 1], next);
        p = *next == ',' ? next + 1 : NULL;
        *end = '\0';
    }
    return n;
}

static double tensor_at(const dt_safetensors_tensor *t, const void *data, int64_t i)
{
    switch (t->type) {
    case DT_SAFETENSORS_F64: return ((const double *)data)[i];
    case DT_SAFETENSORS_I64: return (double)((const int64_t *)data)[i];
    case DT_SAFETENSORS_I32: return (double)((const int32_t *)data)[i];
    default: break;
    }
    cr_assert(0, "%s is of %s", t->name, dt_safetensors_type_name(t->type));
    return 0.0;
}

/* The numbers of a JSON array in order, which must have the tensor's shape. */
static void compare_array(const cJSON *array, const dt_safetensors_tensor *t, int axis, const void *data, int64_t *at)
{
    const cJSON *item;
    cr_assert(cJSON_IsArray(array) && cJSON_GetArraySize(array) == t->dim[axis], "%s: axis %d", t->name, axis);
    cJSON_ArrayForEach(item, array)
    {
        if (axis + 1 < t->ndim) {
            compare_array(item, t, axis + 1, data, at);
            continue;
        }
        cr_assert(cJSON_IsNumber(item) && item->valuedouble == tensor_at(t, data, *at), "%s[%lld] is %.17g, not %.17g",
                  t->name, (long long)*at, tensor_at(t, data, *at), item->valuedouble);
        ++*at;
    }
}

static void check_cell(const char *row, const char *column, const char *text)
{
    char name[128];
    int64_t at = 0;
    snprintf(name, sizeof name, "%s.%s", row, column);
    const dt_safetensors_tensor *t = dt_safetensors_find(tensors, name);
    cr_assert(t != NULL, "no tensor %s", name);
    cr_assert(t->begin % (t->type == DT_SAFETENSORS_I32 ? 4 : 8) == 0, "%s begins at %lld", name, (long long)t->begin);
    void *data = malloc((size_t)(t->end - t->begin));
    MUST(dt_safetensors_read(tensors, t, data));
    cJSON *json = cJSON_Parse(text);
    cr_assert(json != NULL, "%s: '%s'", name, text);
    compare_array(json, t, 0, data, &at);
    cr_assert(at == t->count);
    cJSON_Delete(json);
    free(data);
}

/* Returns how many rows there are. */
static int check_table(char *text, const char *head)
{
    char *column[MOST_FIELDS], *field[MOST_FIELDS], *line = strtok(text, "\n");
    int n = 0;
    cr_assert(strcmp(line, head) == 0, "'%s'", line);
    const int n_columns = split(line, column);
    cr_assert(column[0][0] == '\0');
    while ((line = strtok(NULL, "\n")) != NULL) {
        const int n_fields = split(line, field);
        cr_assert(n_fields == n_columns, "%s has %d fields", field[0], n_fields);
        for (int i = 1; i < n_fields; i++) check_cell(field[0], column[i], field[i]);
        n++;
    }
    return n;
}

/* What is in the file is what was extracted. */
static void expect_tensor(const char *row, const char *column, const void *want, int64_t count)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", row, column);
    const dt_safetensors_tensor *t = dt_safetensors_find(tensors, name);
    cr_assert(t != NULL && t->count == count, "%s", name);
    void *data = malloc((size_t)(t->end - t->begin));
    MUST(dt_safetensors_read(tensors, t, data));
    for (int64_t i = 0; i < count; i++) {
        const double w = t->type == DT_SAFETENSORS_I32 ? (double)((const int32_t *)want)[i] : ((const double *)want)[i];
        cr_assert(tensor_at(t, data, i) == w, "%s[%lld] is %.17g, expected %.17g", name, (long long)i,
                  tensor_at(t, data, i), w);
    }
    free(data);
}

static void check_tensors(const char *subq, const char *alpha, const char *beta)
{
    for (int i = 0; i < extracted.n_layers; i++) {
        const dt_extracted_layer *l = &extracted.layer[i];
        expect_tensor(l->name, "w_scale", l->w_scale, l->n_scale);
        expect_tensor(l->name, "b_scale", &l->b_scale, 1);
        expect_tensor(l->name, subq, l->subq, l->n_out);
        expect_tensor(l->name, "wq", l->wq, l->n_weights);
        expect_tensor(l->name, "bq", l->bq, l->n_out);
    }
    for (int i = 0; i < extracted.n_acts; i++) {
        const dt_extracted_act *a = &extracted.act[i];
        expect_tensor(a->name, alpha, &a->alpha, 1);
        expect_tensor(a->name, beta, &a->beta, 1);
        expect_tensor(a->name, "in_scale", &a->grid.scale, 1);
        expect_tensor(a->name, "in_zeropoint", &a->grid.zero, 1);
    }
}

Test(extraction_file, tables_and_tensors_have_what_was_extracted)
{
    write_files((dt_extraction){ .bias_bits = 32 });
    check_tensors("subq1", "alpha_of_max_abs", "beta_of_max_abs");
    cr_assert(check_table(read_file("extracted_weights.csv"), ",w_scale,b_scale,subq1,wq,bq") == 5);
    cr_assert(check_table(read_file("extracted_activations.csv"),
                          ",alpha_of_max_abs,beta_of_max_abs,in_scale,in_zeropoint") == 7);
    close_files();
}

Test(extraction_file, columns_have_the_names_of_today_too)
{
    write_files((dt_extraction){ .columns = DT_COLUMNS_QKERAS_MOD });
    check_tensors("subq", "alpha_of_min", "beta_of_max");
    cr_assert(check_table(read_file("extracted_weights.csv"), ",w_scale,b_scale,subq,wq,bq") == 5);
    cr_assert(check_table(read_file("extracted_activations.csv"), ",alpha_of_min,beta_of_max,in_scale,in_zeropoint") ==
              7);
    close_files();
}

Test(extraction_file, integers_have_no_exponent_and_no_negative_zero)
{
    write_files((dt_extraction){ 0 });
    const char *text = read_file("extracted_weights.csv");
    cr_assert(strstr(text, "-0,") == NULL && strstr(text, "-0]") == NULL && strstr(text, "e+") == NULL);
    close_files();
}

Test(extraction_file, unknown_columns_and_narrow_ranges_are_refused)
{
    static const float narrow[2] = { 1.0f, 1.0f + 0x1p-23f };
    write_files((dt_extraction){ 0 });
    const dt_status words =
        dt_quantized_extract(rig.model, &(dt_extraction){ .columns = (dt_columns)2 }, temp_path("made/here"), NULL);
    cr_assert(words == DT_ERR_ARGUMENT && strstr(dt_last_error(), "columns"), "%s", dt_last_error());
    MUST(dt_model_write(rig.model, dt_model_find(rig.model, "image.range"), narrow));
    const dt_status status =
        dt_quantized_extract(rig.model, &(dt_extraction){ .abits = 31 }, temp_path("made/here"), NULL);
    cr_assert(status == DT_ERR_NUMERIC && strstr(dt_last_error(), "image.quant.in_zeropoint"), "%s: %s",
              dt_status_name(status), dt_last_error());
    close_files();
}
