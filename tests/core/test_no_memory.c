/*
 * test_no_memory.c - whichever allocation fails, the call fails with DT_ERR_MEMORY and a message of its own.
 *
 * The linker hands the library's allocations to this file (--wrap, see CMakeLists.txt), and cJSON asks it for memory.
 * An errand is run again and again: the first time its first allocation fails, then its second, until none is left to
 * fail and it succeeds.
 */
/* clang-format off */
#include "../support/tiny_run.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "../support/temp_files.h"
/* clang-format on */

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

/* ---- allocations ---- */

static atomic_int left; /* allocations until one fails, that one counted; 0 or less: none will */

static int fails(void)
{
    if (atomic_fetch_sub(&left, 1) != 1) return 0;
    errno = ENOMEM; /* as malloc does, and dt_json_lost reads */
    return 1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
    return fails() ? NULL : __real_realloc(p, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
    return fails() ? NULL : __real_strndup(text, bytes);
}

typedef dt_status (*errand)(void);

enum { ALL_OF = 400 }; /* allocations; of those behind, JSON's by the thousand, every so many-th fails */

/* At least `fewest` allocations are looked at; it can do without n_spare of them. */
static void fail_each(const char *what, errand run, int fewest, int n_spare)
{
    for (int n = 1;; n += n < ALL_OF ? 1 : 1 + n / 64) {
        (void)dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "of before");
        atomic_store(&left, n);
        const dt_status status = run();
        if (atomic_exchange(&left, 0) > 0) {
            cr_assert(status == DT_OK, "%s: nothing failed, and there is %s: %s", what, dt_status_name(status),
                      dt_last_error());
            cr_assert(n > fewest, "%s: only %d allocations were seen", what, n - 1);
            cr_assert(n_spare == 0, "%s: %d allocations that it can do without were not seen", what, n_spare);
            return;
        }
        if (status == DT_OK && n_spare-- > 0) continue;
        cr_assert(status == DT_ERR_MEMORY, "%s: allocation %d failed, and there is %s: %s", what, n,
                  dt_status_name(status), dt_last_error());
        cr_assert(strncmp(dt_last_trace(), "DT_ERR_MEMORY", 13) == 0, "%s: allocation %d: the message is that %s", what,
                  n, dt_last_error());
    }
}

/* ---- errands ---- */

static tiny_run run;
static dt_program *program;
static dt_capture *capture;

static tiny_options few_images(void)
{
    tiny_options o = tiny_defaults();

    o.images = 8;
    o.train.batch = 5;
    o.context.threads = 1;
    return o;
}

static void no_memory_open(void)
{
    const tiny_options o = few_images();
    cJSON_Hooks hooks = { __wrap_malloc, free };

    cJSON_InitHooks(&hooks);
    temp_make();
    cr_assert(tiny_open(&run, &o));
    tiny_steps(&run, 2);
    MUST(dt_program_lower(run.model, run.data, &program));
    MUST(dt_capture_layer(run.model, run.data, 0, 1, "features.4", &capture));
}

static void no_memory_close(void)
{
    dt_capture_destroy(capture);
    dt_program_destroy(program);
    tiny_close(&run);
    temp_remove();
}

TestSuite(no_memory, .init = no_memory_open, .fini = no_memory_close);

static dt_status open_data(dt_dataset **out)
{
    const dt_dataset_options o = { .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = 8, .seed = 1 };

    return dt_dataset_open(&o, out);
}

static dt_status open_dataset(void)
{
    dt_dataset *d = NULL;
    const dt_status status = open_data(&d);

    dt_dataset_close(d);
    return status;
}

static dt_status train(void)
{
    const tiny_options o = few_images();
    tiny_run r = { 0 };
    dt_metrics m;
    dt_status status = dt_context_create(&o.context, &r.ctx);

    if (status == DT_OK) status = dt_model_create(r.ctx, &o.model, &r.model);
    if (status == DT_OK) status = dt_trainer_create(r.model, run.data, &o.train, &r.trainer);
    if (status == DT_OK) status = dt_trainer_run(r.trainer, 2);
    if (status == DT_OK) status = dt_trainer_metrics(r.trainer, &m);
    tiny_close(&r);
    return status;
}

static dt_status report(void)
{
    dt_quant_report quantizer[8];

    cr_assert(dt_trainer_n_quantizers(run.trainer) <= 8);
    return dt_trainer_report(run.trainer, quantizer);
}

static dt_status evaluate(void)
{
    float scores[8 * 10];
    int32_t predictions[8];
    const dt_outputs outputs = { predictions, scores };
    dt_class_report *r = NULL;
    dt_dataset_view v;
    dt_metrics m;

    dt_dataset_look(run.data, &v);
    dt_status status = dt_evaluate(run.model, run.data, 5, 0.0f, NULL, &outputs, &m);
    if (status == DT_OK) status = dt_class_report_create(scores, v.labels, 8, 10, &r);
    dt_class_report_destroy(r);
    return status;
}

static dt_status capture_layer(void)
{
    dt_capture *c = NULL;
    const dt_status status = dt_capture_layer(run.model, run.data, 0, 3, "features.4", &c);

    dt_capture_destroy(c);
    return status;
}

static dt_status lower(void)
{
    dt_program *p = NULL;
    dt_requant_report r;
    dt_status status = dt_program_lower(run.model, run.data, &p);

    if (status == DT_OK) status = dt_program_use_multipliers(p, 16, &r);
    dt_program_destroy(p);
    return status;
}

static dt_status run_program(void)
{
    dt_dataset_view v;
    float scores[10];

    dt_dataset_look(run.data, &v);
    return dt_program_run(program, v.images, scores);
}

static dt_status run_array(void)
{
    dt_array_report layers[8];
    dt_model *m = NULL;
    dt_metrics metrics;
    dt_array array;

    dt_array_default(&array);
    dt_status status = dt_program_model(run.ctx, program, &array, &m);
    cr_assert(status != DT_OK || dt_model_n_layers(m) <= 8);
    if (status == DT_OK) status = dt_array_evaluate(m, run.data, 5, 0.0f, NULL, NULL, &metrics, layers);
    dt_model_destroy(m);
    return status;
}

static dt_status verify(void)
{
    dt_verify_report *r = NULL;
    dt_array array;

    dt_array_default(&array);
    const dt_status status = dt_verify(run.model, run.data, 0, 3, NULL, &array, NULL, &r);
    dt_verify_report_destroy(r);
    return status;
}

/* ---- files */

static dt_status open_table(void)
{
    static const char table[] = "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n";
    char name[2 * TEMP_PATH_BYTES + 8];
    dt_dataset *d = NULL;
    FILE *file = fopen(temp_path("t.csv"), "w");

    fputs(table, file);
    fclose(file);
    snprintf(name, sizeof name, "csv:%s", temp_path("t.csv"));
    const dt_status status = dt_dataset_open(&(dt_dataset_options){ .name = name }, &d);
    dt_dataset_close(d);
    return status;
}

static void ignore(void *user, const char *name, const char *why)
{
    (void)user, (void)name, (void)why;
}

static dt_status checkpoint(void)
{
    const char *path = temp_path("run.safetensors");
    char *extra = NULL;
    dt_model *opened = NULL;
    int n;
    dt_status status = dt_checkpoint_save(run.trainer, path, "{}");

    if (status == DT_OK) status = dt_checkpoint_extra(path, &extra);
    if (status == DT_OK) status = dt_checkpoint_load(run.model, path);
    if (status == DT_OK) status = dt_checkpoint_load_partial(run.model, path, ignore, NULL, &n);
    if (status == DT_OK) status = dt_checkpoint_resume(run.trainer, path);
    if (status == DT_OK) status = dt_checkpoint_open(run.ctx, path, &opened);
    dt_model_destroy(opened);
    free(extra);
    return status;
}

static dt_status capture_file(void)
{
    dt_capture *c = NULL;
    dt_status status = dt_capture_save(capture, "features.4", temp_path("layer.safetensors"));

    if (status == DT_OK) status = dt_capture_load(temp_path("layer.safetensors"), &c);
    dt_capture_destroy(c);
    return status;
}

static dt_status program_file(void)
{
    dt_program *p = NULL;
    dt_status status = dt_program_save(program, temp_path("program.safetensors"));

    if (status == DT_OK) status = dt_program_load(temp_path("program.safetensors"), &p);
    if (status == DT_OK) status = dt_program_write_c(p, temp_path("c"), "net");
    dt_program_destroy(p);
    return status;
}

/* Constants that are folded, slices and pads; data beside the file; codes made of bytes and of reals. */
static dt_status onnx_files(void)
{
    dt_program *p = NULL;
    dt_model *shortcut = NULL, *outside = NULL;
    dt_status status = dt_checkpoint_open(run.ctx, DETENT_TEST_GOLDEN "/onnx/shortcut.onnx", &shortcut);

    if (status == DT_OK) status = dt_checkpoint_open(run.ctx, DETENT_TEST_GOLDEN "/onnx/outside.onnx", &outside);
    if (status == DT_OK) status = dt_program_load(DETENT_TEST_GOLDEN "/onnx/by_hand.onnx", &p);
    dt_program_destroy(p);
    dt_model_destroy(outside);
    dt_model_destroy(shortcut);
    return status;
}

static dt_status vectors(void)
{
    const dt_vector_style style = { DT_LAYOUT_COURSE, DT_HEADER_OF_LAYOUT };
    dt_vectors_report r;
    dt_array array;

    dt_array_default(&array);
    dt_status status = dt_vectors_save(capture, "features.4", &array, &style, temp_path("vectors"), NULL);
    if (status == DT_OK) status = dt_vectors_check(temp_path("vectors"), &r);
    return status;
}

static const struct {
    const char *what;
    errand run;
    int fewest, n_spare;
} errands[] = {
    { "dataset", open_dataset, .fewest = 2,
      .n_spare = 2 }, /* that images and labels have become fewer costs no memory */
    { "table", open_table, .fewest = 10, .n_spare = 2 },
    { "train", train, .fewest = 40 },
    { "report", report, .fewest = 10 },
    { "evaluate", evaluate, .fewest = 10 },
    { "capture", capture_layer, .fewest = 10 },
    { "lower", lower, .fewest = 10 },
    { "program", run_program, .fewest = 4 },
    { "array", run_array, .fewest = 20 },
    { "verify", verify, .fewest = 30 },
    { "checkpoint", checkpoint, .fewest = 20 },
    { "capture file", capture_file, .fewest = 10 },
    { "program file", program_file, .fewest = 10 },
    { "ONNX files", onnx_files, .fewest = 100 },
    { "vectors", vectors, .fewest = 10 },
};

Test(no_memory, every_allocation_may_fail)
{
    for (size_t i = 0; i < sizeof errands / sizeof errands[0]; i++) {
        fail_each(errands[i].what, errands[i].run, errands[i].fewest, errands[i].n_spare);
    }
}
