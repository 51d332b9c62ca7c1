/*
 * fuzz_program.c - any bytes as a program: refused, or it can be described, run, saved and loaded again.
 *
 * Programs of more work than MOST_WORK are not run: a short file can ask for a large image.
 */
#include "fuzz_target.h"

#include <string.h>

#include "../../quant/program.h"

#define MOST_WORK 1e6 /* products, values and pixels */

static double work(const dt_program *p)
{
    double sum = (double)p->height * p->width * p->channels;

    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        const dt_value x = dt_layer_input(p, i, 0);
        const double window = l->window_height ? (double)l->window_height * l->window_width : 1.0;
        sum += (double)dt_layer_count(l) * (l->kind == DT_LAYER_CONV ? window * x.channels : window);
        if (l->value == DT_VALUE_CODE) sum += (double)dt_layer_count(l) * (l->high - l->low);
    }
    return sum;
}

static void run(const dt_program *p)
{
    uint8_t *image = malloc((size_t)p->height * (size_t)p->width * (size_t)p->channels);
    float *scores = malloc((size_t)p->layer[p->n_layers - 1].channels * sizeof *scores);

    if (image && scores) {
        for (int i = 0; i < p->height * p->width * p->channels; i++) image[i] = (uint8_t)(i * 37);
        FUZZ_REQUIRE(dt_program_run(p, image, scores) == DT_OK);
    }
    free(image);
    free(scores);
}

static void save_and_load(const dt_program *p)
{
    static char path[64];
    dt_program *again = NULL;

    if (!path[0]) snprintf(path, sizeof path, "/tmp/fuzz_program-%ld.safetensors", (long)getpid());
    FUZZ_REQUIRE(dt_program_save(p, path) == DT_OK);
    FUZZ_REQUIRE(dt_program_load(path, &again) == DT_OK);
    FUZZ_REQUIRE(again->n_layers == p->n_layers && strcmp(again->model, p->model) == 0);
    dt_program_destroy(again);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_program *p = NULL;
    dt_program_info info;

    if (dt_program_load(fuzz_path(data, size), &p) != DT_OK) return 0;
    dt_program_describe(p, &info);
    if (work(p) < MOST_WORK) run(p);
    save_and_load(p);
    dt_program_destroy(p);
    return 0;
}
