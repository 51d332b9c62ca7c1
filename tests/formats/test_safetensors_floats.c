/*
 * test_safetensors_floats.c - files that other tools write: every type of the format, parameters in other float types,
 *                             scalars, and the prefixes of PyTorch's wrappers.
 */
#include "../support/checkpoint_run.h"
#include "../support/host_copy.h"

#include "../../core/half.h"
#include "../../formats/safetensors.h"

#include <math.h>

TestSuite(safetensors_floats, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- types ---- */

/* Of safetensors/src/tensor.rs, with the bytes of 8 elements. */
static const struct {
    const char *name;
    int bytes_of_8;
} all_types[] = {
    { "F4", 4 },      { "F6_E2M3", 6 },     { "F6_E3M2", 6 },     { "BOOL", 8 }, { "U8", 8 },   { "I8", 8 },
    { "F8_E5M2", 8 }, { "F8_E4M3", 8 },     { "F8_E8M0", 8 },     { "I16", 16 }, { "U16", 16 }, { "F16", 16 },
    { "BF16", 16 },   { "F8_E4M3FNUZ", 8 }, { "F8_E5M2FNUZ", 8 }, { "I32", 32 }, { "U32", 32 }, { "F32", 32 },
    { "C64", 64 },    { "F64", 64 },        { "I64", 64 },        { "U64", 64 },
};

/* A file of one tensor 'a' [count]. */
static void write_one(const char *type, int count, int bytes)
{
    char file[512] = "", *header = file + 8;
    const int n =
        sprintf(header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", type, count, bytes);

    file[0] = (char)n;
    temp_write("one.safetensors", file, 8 + (size_t)n + (size_t)bytes);
}

Test(safetensors_floats, every_type_of_the_format_is_known)
{
    for (size_t i = 0; i < sizeof all_types / sizeof all_types[0]; i++) {
        dt_safetensors *f;

        write_one(all_types[i].name, 8, all_types[i].bytes_of_8);
        MUST(dt_safetensors_open(temp_path("one.safetensors"), &f));
        const dt_safetensors_tensor *t = dt_safetensors_find(f, "a");
        cr_assert(eq(str, (char *)dt_safetensors_type_name(t->type), (char *)all_types[i].name));
        cr_assert(eq(i64, t->end - t->begin, all_types[i].bytes_of_8));
        dt_safetensors_close(f);
    }
}

Test(safetensors_floats, elements_that_end_inside_a_byte_are_refused)
{
    dt_safetensors *f;

    write_one("F6_E2M3", 4, 3);
    MUST(dt_safetensors_open(temp_path("one.safetensors"), &f));
    dt_safetensors_close(f);
    write_one("F6_E2M3", 3, 2);
    cr_assert(eq(int, (int)dt_safetensors_open(temp_path("one.safetensors"), &f), (int)DT_ERR_FORMAT));
    expect_message("18 bits", "tensor 'a': 3 elements of 6 bits are no whole number of bytes");
    write_one("F4", 2, 2);
    cr_assert(eq(int, (int)dt_safetensors_open(temp_path("one.safetensors"), &f), (int)DT_ERR_FORMAT));
    expect_message("8 bits", "span 2 bytes, its shape and dtype need 1");
}

/* ---- parameters ---- */

/* How a file is written again. */
typedef struct {
    dt_safetensors_type type; /* of its parameters */
    const char *prefix;
    int scalars;                /* 1: a list of one value becomes a scalar */
    dt_safetensors_type beside; /* F32: nothing; else a tensor of that type that the model does not have */
} writing;

/* `from` in that type, as element i of `to` */
static void put(dt_safetensors_type type, float from, void *to, int64_t i)
{
    if (type == DT_SAFETENSORS_F64)
        ((double *)to)[i] = (double)from * (1.0 + 1e-9); /* not an f32 */
    else if (type == DT_SAFETENSORS_F32)
        ((float *)to)[i] = from;
    else
        ((uint16_t *)to)[i] = type == DT_SAFETENSORS_BF16 ? dt_to_bf16(from) : dt_to_fp16(from);
}

/* a.safetensors as b.safetensors, without moments and metadata. */
static void write_again(const writing *how)
{
    static double room[64][8192];
    static const int64_t eight = 8;
    dt_safetensors_writer *w;
    dt_safetensors *f;
    int n = 0;

    MUST(dt_safetensors_open(temp_path("a.safetensors"), &f));
    MUST(dt_safetensors_writer_create(&w));
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        static float value[8192];
        char name[160];

        if (strncmp(t->name, "optimizer.", 10) == 0) continue;
        cr_assert(t->count <= 8192 && n < 63);
        MUST(dt_safetensors_read(f, t, value));
        for (int64_t k = 0; k < t->count; k++) put(how->type, value[k], room[n], k);
        snprintf(name, sizeof name, "%s%s", how->prefix, t->name);
        const int is_scalar = how->scalars && t->ndim == 1 && t->dim[0] == 1;
        MUST(dt_safetensors_writer_add(w, name, how->type, is_scalar ? 0 : t->ndim, t->dim, room[n++]));
    }
    char beside[64];
    snprintf(beside, sizeof beside, "%sbeside", how->prefix);
    if (how->beside != DT_SAFETENSORS_F32) MUST(dt_safetensors_writer_add(w, beside, how->beside, 1, &eight, room[63]));
    MUST(dt_safetensors_writer_write(w, temp_path("b.safetensors")));
    dt_safetensors_writer_destroy(w);
    dt_safetensors_close(f);
}

typedef struct {
    int n;
    char text[2048];
} skips;

static void note_skip(void *user, const char *name, const char *why)
{
    skips *s = user;
    const size_t used = strlen(s->text);

    s->n++;
    snprintf(s->text + used, sizeof s->text - used, "%s: %s\n", name, why);
}

/* Every parameter of m is near a's: to the bit, or by the share that the type leaves. */
static void expect_near(const char *why, const dt_model *a, const dt_model *m, double share)
{
    for (int i = 0; i < dt_model_n_params(a); i++) {
        dt_param_info info;
        dt_model_param(a, i, &info);
        float *x = host_param(a, i, NULL), *y = host_param(m, i, NULL);
        for (int64_t k = 0; k < info.count; k++) {
            cr_assert(fabs((double)x[k] - (double)y[k]) <= share * fabs((double)x[k]) + 1e-7 * (share > 0.0),
                      "%s: %s[%lld] is %.9g, expected %.9g", why, info.name, (long long)k, (double)y[k], (double)x[k]);
        }
        free(x);
        free(y);
    }
}

static const struct {
    const char *why;
    writing how;
    double share; /* half a unit of the type's last place */
    int n_skipped;
    const char *skipped;
} rows[] = {
    { "as it is", { DT_SAFETENSORS_F32, "", 0, DT_SAFETENSORS_F32 }, 0.0, 0, "" },
    { "scalars", { DT_SAFETENSORS_F32, "", 1, DT_SAFETENSORS_F32 }, 0.0, 0, "" },
    { "F16", { DT_SAFETENSORS_F16, "", 0, DT_SAFETENSORS_F32 }, 0x1p-11, 0, "" },
    { "BF16", { DT_SAFETENSORS_BF16, "", 1, DT_SAFETENSORS_F32 }, 0x1p-8, 0, "" },
    { "F64", { DT_SAFETENSORS_F64, "", 0, DT_SAFETENSORS_F32 }, 0x1p-23, 0, "" },
    { "DataParallel", { DT_SAFETENSORS_F32, "module.", 0, DT_SAFETENSORS_F32 }, 0.0, 1, "module.: all names begin" },
    { "compiled", { DT_SAFETENSORS_F16, "_orig_mod.", 1, DT_SAFETENSORS_U64 }, 0x1p-11, 2, "_orig_mod.beside: not in" },
    { "an F8 beside", { DT_SAFETENSORS_F32, "", 0, DT_SAFETENSORS_F8_E4M3 }, 0.0, 1, "beside: not in the model" },
    { "an F4 beside", { DT_SAFETENSORS_F32, "", 0, DT_SAFETENSORS_F4 }, 0.0, 1, "beside: not in the model" },
    { "a U16 beside", { DT_SAFETENSORS_F32, "", 0, DT_SAFETENSORS_U16 }, 0.0, 1, "beside: not in the model" },
    { "a C64 beside", { DT_SAFETENSORS_F32, "", 0, DT_SAFETENSORS_C64 }, 0.0, 1, "beside: not in the model" },
};

Test(safetensors_floats, parameters_of_other_tools_are_taken)
{
    const setup s = default_setup();
    run r = open_run(&s);

    train_steps(&r, 4);
    save(&r, "a.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        skips seen = { 0 };
        dt_model *m;
        int n = -1;

        write_again(&rows[i].how);
        MUST(dt_model_create(r.ctx, &s.model, &m));
        MUST(dt_checkpoint_load_partial(m, temp_path("b.safetensors"), note_skip, &seen, &n));
        cr_assert(eq(int, n, dt_model_n_params(m)), "%s: %s", rows[i].why, seen.text);
        cr_assert(eq(int, seen.n, rows[i].n_skipped), "%s: %s", rows[i].why, seen.text);
        cr_assert(strstr(seen.text, rows[i].skipped) != NULL, "%s: no '%s' in '%s'", rows[i].why, rows[i].skipped,
                  seen.text);
        expect_near(rows[i].why, r.model, m, rows[i].share);
        if (rows[i].how.beside == DT_SAFETENSORS_F32) {
            MUST(dt_checkpoint_load(m, temp_path("b.safetensors"))); /* all names are there and none is left over */
            expect_near(rows[i].why, r.model, m, rows[i].share);
        }
        dt_model_destroy(m);
    }
    close_run(&r);
}

Test(safetensors_floats, a_value_beyond_f32_is_refused_and_integers_are_skipped)
{
    const setup s = default_setup();
    const double large[10] = { 0, 1, 2, 3e38, 3.5e38 };
    const int64_t ten = 10;
    run r = open_run(&s);
    dt_safetensors_writer *w;
    skips seen = { 0 };
    int n = -1;

    for (int integers = 0; integers < 2; integers++) {
        MUST(dt_safetensors_writer_create(&w));
        MUST(dt_safetensors_writer_add(w, "classifier.bias", integers ? DT_SAFETENSORS_I64 : DT_SAFETENSORS_F64, 1,
                                       &ten, large));
        MUST(dt_safetensors_writer_write(w, temp_path("large.safetensors")));
        dt_safetensors_writer_destroy(w);
        const dt_status got = dt_checkpoint_load_partial(r.model, temp_path("large.safetensors"), note_skip, &seen, &n);
        cr_assert(eq(int, (int)got, (int)(integers ? DT_OK : DT_ERR_FORMAT)), "%s", dt_last_error());
        if (!integers) expect_message("3.5e38", "'classifier.bias': value 4 is 3.5e+38, which F32 does not hold");
    }
    cr_assert(eq(int, n, 0));
    cr_assert(strstr(seen.text, "classifier.bias: I64 in the checkpoint, F32 in the model") != NULL, "%s", seen.text);
    close_run(&r);
}

/* a.safetensors whole, but for one tensor, which becomes F16. */
static void write_run_with_half(const char *half)
{
    static const char *const keys[] = { "format",   "version",   "graph",    "train", "data",        "step",
                                        "loss_sum", "n_correct", "n_images", "seed",  "train_images" };
    static uint16_t zeros[64];
    dt_safetensors_writer *w;
    void *data[128];
    dt_safetensors *f;

    MUST(dt_safetensors_open(temp_path("a.safetensors"), &f));
    MUST(dt_safetensors_writer_create(&w));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        MUST(dt_safetensors_writer_metadata(w, keys[i], dt_safetensors_metadata(f, keys[i])));
    }
    const int n = dt_safetensors_count(f);
    cr_assert(n <= 128);
    for (int i = 0; i < n; i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        const int is_half = strcmp(t->name, half) == 0;
        data[i] = malloc((size_t)(t->end - t->begin) + 1);
        MUST(dt_safetensors_read(f, t, data[i]));
        MUST(dt_safetensors_writer_add(w, t->name, is_half ? DT_SAFETENSORS_F16 : t->type, t->ndim, t->dim,
                                       is_half ? (void *)zeros : data[i]));
    }
    MUST(dt_safetensors_writer_write(w, temp_path("b.safetensors")));
    for (int i = 0; i < n; i++) free(data[i]);
    dt_safetensors_writer_destroy(w);
    dt_safetensors_close(f);
}

Test(safetensors_floats, a_run_goes_on_from_f32_alone)
{
    const setup s = default_setup();
    run r = open_run(&s);

    train_steps(&r, 4);
    save(&r, "a.safetensors");
    write_run_with_half("");
    MUST(dt_checkpoint_resume(r.trainer, temp_path("b.safetensors")));
    write_run_with_half("classifier.bias");
    cr_assert(eq(int, (int)dt_checkpoint_resume(r.trainer, temp_path("b.safetensors")), (int)DT_ERR_SHAPE));
    expect_message("F16", "'classifier.bias' is F16, but a run goes on with equal bits, from F32 alone");
    close_run(&r);
}
