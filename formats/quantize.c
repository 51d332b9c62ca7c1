/*
 * quantize.c - quantization after training, with ranges that a file may give: see quant/post_training.h.
 *
 * Interface: dt_quantize in include/detent/quantize.h.  Tests: tests/quant/test_post_training.c.
 */
#include "../core/names.h"
#include "../quant/rescue/rescue.h"
#include "detent/debugger.h"
#include "images_file.h"
#include "ranges_file.h"

#include <stdlib.h>

/* Ranges of a file, or none. */
typedef struct {
    char *has;
    dt_range *range;
} given_ranges;

static dt_status read_ranges(const char *path, const dt_graph *g, given_ranges *out)
{
    const size_t n = (size_t)g->n_values;

    if (!path) return DT_OK;
    out->has = calloc(n, 1);
    out->range = calloc(n, sizeof *out->range);
    DT_CHECK(out->has && out->range, DT_ERR_MEMORY, "no memory for the ranges of %s", path);
    return dt_ranges_file_read(path, g, out->has, out->range);
}

static int is_full(const dt_quantization *what)
{
    return what->scheme != DT_SCHEME_DRQ && what->scheme != DT_SCHEME_FLOAT && what->scheme != DT_SCHEME_QKERAS;
}

static dt_status check_full(const dt_quantization *what)
{
    const int n_given = (what->dataset != NULL) + (what->pixels != NULL) + (what->normalised != NULL);

    DT_CHECK(n_given == 1 || (n_given == 0 && what->ranges), DT_ERR_ARGUMENT,
             "quantization takes calibration images of one source (dataset, pixels, normalised), or a file of ranges; "
             "got %d sources",
             n_given);
    return DT_OK;
}

static dt_status quantize_fully(dt_model *m, dt_model *folded, const dt_quantization *what, dt_model **out)
{
    given_ranges given = { 0 };

    dt_status status = read_ranges(what->ranges, folded->graph, &given);
    const dt_known_ranges known = { given.has, given.range };
    if (status == DT_OK && what->rescue)
        status = dt_rescue_run(m, folded, what, &known, out);
    else if (status == DT_OK)
        status = dt_post_training_quantize(folded, what, &known, out);
    free(given.has);
    free(given.range);
    return status;
}

/* Networks that were trained with affine quantizers are taken without them by the schemes that leave activations real.
 */
static dt_status fold(dt_model *m, const dt_quantization *what, dt_model **out)
{
    const int leaves_real = what->scheme == DT_SCHEME_FLOAT || what->scheme == DT_SCHEME_DRQ;
    dt_model *real;

    if (!leaves_real || dt_quantized_count(m) == 0) return dt_post_training_fold(m, out);
    DT_TRY(dt_quantized_real(m, &real));
    const dt_status status = dt_post_training_fold(real, out);
    dt_model_destroy(real);
    return status;
}

dt_status dt_quantize(dt_model *m, const dt_quantization *what, dt_model **out)
{
    dt_model *folded = NULL;
    dt_status status;

    DT_TRY(dt_check_word("scheme", (int)what->scheme, dt_scheme_names));
    if (is_full(what)) DT_TRY(check_full(what));
    DT_TRY(fold(m, what, &folded));
    if (what->scheme == DT_SCHEME_FLOAT) {
        *out = folded;
        return DT_OK;
    }
    if (what->scheme == DT_SCHEME_DRQ)
        status = dt_post_training_dynamic(folded, what, out);
    else if (what->scheme == DT_SCHEME_QKERAS)
        status = dt_post_training_qkeras(folded, what, out);
    else
        status = quantize_fully(m, folded, what, out);
    dt_model_destroy(folded);
    return status;
}

dt_status dt_calibration_images_read(const dt_model *m, const char *path, const char *name, dt_quantization *what)
{
    dt_image_set images;

    DT_TRY(dt_images_file_read(m, path, name, &images));
    what->pixels = images.pixels;
    what->normalised = images.normalised;
    what->n = images.n;
    return DT_OK;
}

void dt_calibration_images_free(dt_quantization *what)
{
    dt_image_set images = { (uint8_t *)(uintptr_t)what->pixels, (float *)(uintptr_t)what->normalised, what->n };

    dt_image_set_free(&images);
    what->pixels = NULL;
    what->normalised = NULL;
}
