/*
 * program_damage.h - for tests: good files of programs, changed copies of them, and the refusal of those.
 *
 * Damages are made with the JSON library and the safetensors writer on the tensors of a good file; that those two are
 * right is test_safetensors.c's.
 */
#ifndef PROGRAM_DAMAGE_H
#define PROGRAM_DAMAGE_H

#include "temp_files.h"

#include "../../formats/safetensors.h"
#include "program_case.h"

#include <cjson/cJSON.h>

static const program_case plain = { .seed = 1, .image_low = -4 };
static const program_case multiplied = { .seed = 2, .multipliers = 1, .rule = DT_RULE_LSQ };

static inline void save_case(const program_case *spec, const char *name)
{
    dt_program *p = program_case_make(spec);

    cr_assert(eq(int, (int)dt_program_save(p, temp_path(name)), DT_OK), "%s", dt_last_error());
    dt_program_destroy(p);
}

static inline char *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");

    cr_assert(ne(ptr, file, NULL), "%s", path);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*bytes + 1);
    cr_assert(eq(sz, fread(text, 1, *bytes, file), *bytes));
    fclose(file);
    return text;
}

/* Metadata of a changed file; NULL: left out. */
typedef struct {
    const char *format, *version, *model, *graph;
} changed;

static inline changed unchanged(const char *graph)
{
    return (changed){ "detent-program", "2", "case", graph };
}

/* Copies the good file with other metadata; skip: a tensor that is left out; extra: one that is added. */
static inline void write_changed(const dt_safetensors *f, const changed *c, const char *skip, const char *extra)
{
    const char *const texts[][2] = {
        { "format", c->format }, { "version", c->version }, { "model", c->model }, { "graph", c->graph }
    };
    dt_safetensors_writer *w;
    void *data[128];
    const int n = dt_safetensors_count(f);
    const int64_t one = 1;

    cr_assert(n <= 128);
    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    for (int i = 0; i < 4; i++) {
        if (texts[i][1]) cr_assert(eq(int, dt_safetensors_writer_metadata(w, texts[i][0], texts[i][1]), DT_OK));
    }
    for (int i = 0; i < n; i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        data[i] = malloc((size_t)(t->end - t->begin) + 1);
        cr_assert(eq(int, dt_safetensors_read(f, t, data[i]), DT_OK));
        if (skip && strcmp(t->name, skip) == 0) continue;
        cr_assert(eq(int, dt_safetensors_writer_add(w, t->name, t->type, t->ndim, t->dim, data[i]), DT_OK));
    }
    if (extra) cr_assert(eq(int, dt_safetensors_writer_add(w, extra, DT_SAFETENSORS_U8, 1, &one, "x"), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_path("bad.safetensors")), DT_OK), "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
    for (int i = 0; i < n; i++) free(data[i]);
}

static inline void expect_load_refused(const char *why, const char *const *parts, int n_parts)
{
    dt_program *const untouched = (dt_program *)temp_folder;
    dt_program *p = untouched;
    const dt_status s = dt_program_load(temp_path("bad.safetensors"), &p);

    cr_assert(eq(int, (int)s, DT_ERR_FORMAT), "%s: %s", why, s == DT_OK ? "loaded" : dt_last_error());
    cr_assert(eq(ptr, p, untouched), "%s: out was written", why);
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "bad.safetensors: "), NULL), "%s: no file in '%s'", why,
              dt_last_error());
    for (int i = 0; i < n_parts && parts[i]; i++) {
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), parts[i]), NULL), "%s: no '%s' in '%s'", why, parts[i],
                  dt_last_error());
    }
}

#endif /* PROGRAM_DAMAGE_H */
