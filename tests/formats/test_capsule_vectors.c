/*
 * test_capsule_vectors.c - the steps of a routing as files: how many there are, numbers that belong together, the lines
 *                          for a test bench, the manifest; a layer that is no routing is refused.
 */
#include "../support/caps_network.h"
#include "../support/temp_files.h"

#include <cjson/cJSON.h>

TestSuite(capsule_vectors, .init = temp_make, .fini = temp_remove);

static FILE *open_in(const char *layer, const char *name)
{
    char path[TEMP_PATH_BYTES + 64];

    snprintf(path, sizeof path, "%s/%s/%s", temp_folder, layer, name);
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s", path);
    return f;
}

/* The numbers of a file, which are n. */
static int32_t *numbers_of(const char *layer, const char *name, int n)
{
    FILE *f = open_in(layer, name);
    int32_t *to = malloc((size_t)n * sizeof *to);
    int more;

    for (int i = 0; i < n; i++) cr_assert(fscanf(f, "%d", &to[i]) == 1, "%s has %d numbers, expected %d", name, i, n);
    cr_assert(fscanf(f, "%d", &more) != 1, "%s has more than %d numbers", name, n);
    fclose(f);
    return to;
}

static int save(const lowered *r, const char *layer)
{
    char dir[TEMP_PATH_BYTES + 64];
    dt_dataset_view v;
    int n_files = 0;

    dt_dataset_look(r->data, &v);
    snprintf(dir, sizeof dir, "%s/%s", temp_folder, layer);
    MUST(dt_capsule_vectors_save(r->program, v.images, layer, dir, &n_files));
    return n_files;
}

/* 50 values of 10 capsules, 150 inputs, 3 iterations, of which the last gives s. */
Test(capsule_vectors, numbers_belong_together)
{
    lowered r = caps_lowered("cpu", 8, 1);

    /* tables, votes, steps, manifest; acc s v a b c twice, acc and s once */
    cr_assert(save(&r, "digit") == 5 + 12 + 2, "%d files", save(&r, "digit"));
    int32_t *u = numbers_of("digit", "votes.txt", 150 * 50), *acc = numbers_of("digit", "acc_2.txt", 50);
    int32_t *c = numbers_of("digit", "c_1.txt", 1500), *v = numbers_of("digit", "v_1.txt", 50);
    int32_t *a = numbers_of("digit", "a_1.txt", 1500);
    for (int k = 0; k < 50; k++) {
        int64_t sum = 0;
        for (int i = 0; i < 150; i++) sum += (int64_t)c[i * 10 + k / 5] * u[i * 50 + k];
        cr_assert(sum == acc[k], "acc_2[%d] is %d, expected %lld", k, acc[k], (long long)sum);
    }
    for (int k = 0; k < 1500; k++) {
        int64_t sum = 0;
        for (int d = 0; d < 5; d++) sum += (int64_t)u[k * 5 + d] * v[k % 10 * 5 + d];
        cr_assert(sum == a[k], "a_1[%d] is %d, expected %lld", k, a[k], (long long)sum);
    }
    free(u);
    free(acc);
    free(c);
    free(v);
    free(a);
    lowered_close(&r);
}

/* Of a joint softmax: 75 couplings of 3 inputs, in two iterations; 75 capsules in three. */
Test(capsule_vectors, lines_for_a_test_bench)
{
    lowered r = caps_lowered("cpu", 8, 1);
    int op, n, format[3], code, capsules = 0, rows = 0;

    save(&r, "skip");
    FILE *f = open_in("skip", "steps.txt");
    while (fscanf(f, "%d %d %d %d %d", &op, &n, &format[0], &format[1], &format[2]) == 5) {
        cr_assert(op == 1 ? n == 4 && format[0] == 11 : op == 2 && n == 75 && format[0] == 3 && format[1] == 12);
        for (int i = 0; i < 2 * n; i++) cr_assert(fscanf(f, "%d", &code) == 1);
        *(op == 1 ? &capsules : &rows) += 1;
    }
    fclose(f);
    cr_assert(capsules == 3 * 75 && rows == 2 * 3, "%d capsules, %d rows", capsules, rows);
    lowered_close(&r);
}

Test(capsule_vectors, manifest)
{
    lowered r = caps_lowered("cpu", 8, 1);
    char text[1 << 16] = "";

    save(&r, "one.squash");
    FILE *f = open_in("one.squash", "manifest.json");
    cr_assert(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    cJSON *m = cJSON_Parse(text);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(m, "iterations"), 0);
    cr_assert(cJSON_GetObjectItem(m, "capsules")->valueint == 75 && cJSON_GetObjectItem(m, "dim")->valueint == 4);
    cr_assert(cJSON_GetObjectItem(first, "s_frac")->valueint == 12);
    cr_assert(cJSON_GetArraySize(cJSON_GetObjectItem(first, "acc_offset")) == 12);
    cJSON_Delete(m);
    lowered_close(&r);
}

Test(capsule_vectors, another_layer_is_refused)
{
    lowered r = caps_lowered("cpu", 8, 1);
    dt_dataset_view v;
    int n_files;

    dt_dataset_look(r.data, &v);
    cr_assert(dt_model_has_routing(r.model, "digit") && !dt_model_has_routing(r.model, "digit.dot"));
    cr_assert(dt_capsule_vectors_save(r.program, v.images, "digit.dot", temp_folder, &n_files) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "no routing 'digit.dot'") != NULL, "%s", dt_last_error());
    lowered_close(&r);
}
