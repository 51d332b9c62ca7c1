/*
 * images_file.c - see images_file.h.
 *
 * Tests: tests/cli/test_predict.c, tests/cli/test_cli_quantize.sh.
 */
#include "images_file.h"

#include "safetensors.h"

#include <stdlib.h>

static dt_status find_images(const dt_model *m, const dt_safetensors *f, const char *path, const char *name,
                             const dt_safetensors_tensor **out)
{
    const int64_t *image = dt_graph_shape(m->graph, m->graph->image)->dim;
    const int n = dt_safetensors_count(f);
    const dt_safetensors_tensor *t = name ? dt_safetensors_find(f, name) : n == 1 ? dt_safetensors_at(f, 0) : NULL;

    DT_CHECK(t || name, DT_ERR_ARGUMENT,
             "%s: has %d tensors; name one: %s:NAME, as 'detent inspect --tensors %s' lists them", path, n, path, path);
    DT_CHECK(t, DT_ERR_ARGUMENT, "%s: has no tensor '%s'; 'detent inspect --tensors %s' lists those that it has", path,
             name, path);
    DT_CHECK(t->type == DT_SAFETENSORS_U8 || t->type == DT_SAFETENSORS_F32, DT_ERR_FORMAT,
             "%s: '%s' is %s, expected U8 (pixels) or F32 (normalised)", path, t->name,
             dt_safetensors_type_name(t->type));
    DT_CHECK(t->ndim == 4 && t->dim[0] >= 1 && t->dim[1] == image[1] && t->dim[2] == image[2] && t->dim[3] == image[3],
             DT_ERR_SHAPE, "%s: '%s' has %d axes and %lld values, expected images [N][%lld][%lld][%lld]", path, t->name,
             t->ndim, (long long)t->count, (long long)image[1], (long long)image[2], (long long)image[3]);
    *out = t;
    return DT_OK;
}

/* Reals as the network's data set has them, by the operations of its AUGMENT (layers/augment.h). */
static void normalise(const dt_model *m, const dt_safetensors_tensor *t, float *x)
{
    const dt_data_origin *o = &m->origin;

    for (int64_t i = 0; i < t->count; i++) {
        const int64_t c = i % t->dim[3];
        x[i] = m->graph->unit_pixels ? x[i] : (x[i] - o->mean[c]) / o->std[c];
    }
}

static dt_status read_images(const dt_model *m, const dt_safetensors *f, const char *path, const char *name,
                             dt_image_set *out)
{
    const dt_safetensors_tensor *t = NULL;

    DT_TRY(find_images(m, f, path, name, &t));
    void *data = malloc((size_t)(t->end - t->begin));
    DT_CHECK(data, DT_ERR_MEMORY, "%s: no memory for %lld images", path, (long long)t->dim[0]);
    const dt_status status = dt_safetensors_read(f, t, data);
    if (status != DT_OK) {
        free(data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    if (t->type == DT_SAFETENSORS_F32 && m->origin.is_real) normalise(m, t, data);
    *out = (dt_image_set){ .n = t->dim[0] };
    if (t->type == DT_SAFETENSORS_U8)
        out->pixels = data;
    else
        out->normalised = data;
    return DT_OK;
}

dt_status dt_images_file_read(const dt_model *m, const char *path, const char *name, dt_image_set *out)
{
    dt_safetensors *f;

    DT_TRY(dt_safetensors_open(path, &f));
    const dt_status status = read_images(m, f, path, name, out);
    dt_safetensors_close(f);
    return status;
}

void dt_image_set_free(dt_image_set *images)
{
    free(images->pixels);
    free(images->normalised);
    *images = (dt_image_set){ 0 };
}
