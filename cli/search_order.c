/*
 * search_order.c - where the greedy search begins: the layers by what they cost alone, as `detent inspect
 * --sensitivity` tells it.
 *
 * The network of reals is quantized after training to the fewest bits of the search, and one layer at a time on images
 * held out. A layer that leaves the scores nearest to those of the network of reals loses its bits first. The order is
 * kept in DIR/sensitivity.json, so that a search that goes on has the same.
 */
#include "search_bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALIBRATION_IMAGES = 100, SENSING_IMAGES = 256 };

static int least_bits(const dt_search_space *space, dt_choice_role role)
{
    int least = 16;

    for (int c = 0; c < space->n_choices; c++) {
        const dt_candidates *k = &space->choice[c].candidates;
        for (int i = 0; space->choice[c].role == role && i < k->n; i++)
            least = k->value[i] < least ? k->value[i] : least;
    }
    return least;
}

static const dt_sensitivity_row *row_named(const dt_sensitivity *r, const char *name)
{
    for (int i = 0; i < r->n; i++) {
        if (strcmp(r->row[i].name, name) == 0) return &r->row[i];
    }
    return NULL;
}

/* The layer of a row: itself, or the one that reads what the quantizer makes. */
static const dt_search_row *layer_of(const dt_search_space *space, const dt_search_row *row)
{
    for (int i = 0; i < space->n_rows && row->n[DT_CHOICE_KERNEL] == 0; i++) {
        if (space->row[i].reads >= 0 && &space->row[space->row[i].reads] == row) return &space->row[i];
    }
    return row;
}

/* Signal to noise of the scores if the layer of choice c alone is quantized, in dB; of several layers the least. */
static double signal_of(const dt_search_space *space, const dt_sensitivity *r, int c)
{
    double least = 1e9;

    for (int i = 0; i < space->n_rows; i++) {
        for (int role = 0; role < DT_CHOICE_BITS; role++) {
            if (space->row[i].choice[role] != c) continue;
            const dt_sensitivity_row *row = row_named(r, layer_of(space, &space->row[i])->name);
            if (row && row->alone.snr < least) least = row->alone.snr;
        }
    }
    return least;
}

static void sort_choices(const dt_search_space *space, const double *signal, int *order)
{
    for (int c = 0; c < space->n_choices; c++) {
        int at = c;
        while (at > 0 && signal[order[at - 1]] < signal[c]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = c;
    }
}

static dt_status sense_images(const settings *s, session *o, const dt_search_space *space, dt_sensitivity **out)
{
    settings on_validation = *s;
    dt_quantization what = { .observer = DT_OBSERVE_MINMAX, .n = CALIBRATION_IMAGES };
    dt_prediction how = { .n = SENSING_IMAGES };
    dt_dataset_view view;
    dt_model *q;

    on_validation.val_size = s->tune_size;
    if (!o->val_set) DT_TRY(session_open_images(&on_validation, o->model, DT_SPLIT_VALIDATION, &o->val_set));
    dt_dataset_look(o->val_set, &view);
    what.dataset = how.dataset = o->val_set;
    if (what.n > view.n) what.n = view.n;
    if (how.n > view.n) how.n = view.n;
    what.wbits = least_bits(space, DT_CHOICE_KERNEL);
    what.abits = least_bits(space, DT_CHOICE_ACTIVATION);
    DT_TRY(dt_quantize(o->model, &what, &q));
    const dt_status status = dt_quantized_sensitivity(q, &how, view.multi_label ? NULL : view.labels, out);
    dt_model_destroy(q);
    return status;
}

static dt_status sense(const settings *s, session *o, const dt_search_space *space, double *signal)
{
    dt_sensitivity *r = NULL;

    DT_TRY(sense_images(s, o, space, &r));
    for (int c = 0; c < space->n_choices; c++) signal[c] = signal_of(space, r, c);
    dt_sensitivity_destroy(r);
    return DT_OK;
}

/* ---- the file ---- */

static dt_status write_signals(const dt_search_space *space, const double *signal, const char *path)
{
    cJSON *out = cJSON_CreateObject();

    for (int c = 0; c < space->n_choices; c++) cJSON_AddNumberToObject(out, space->choice[c].name, signal[c]);
    return json_file_write(path, out);
}

/* Sets *is_there to 0 if there is no file. */
static dt_status read_signals(const dt_search_space *space, const char *path, double *signal, int *is_there)
{
    cJSON *object;

    DT_TRY(json_file_read(path, "; remove it", &object));
    *is_there = object != NULL;
    if (!object) return DT_OK;
    int is_whole = 1;
    for (int c = 0; c < space->n_choices && is_whole; c++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, space->choice[c].name);
        is_whole = cJSON_IsNumber(item);
        if (is_whole) signal[c] = item->valuedouble;
    }
    cJSON_Delete(object);
    DT_CHECK(is_whole, DT_ERR_FORMAT, "%s: it does not have a number for each choice; remove it", path);
    return DT_OK;
}

static dt_status find_signals(const settings *s, session *o, const dt_search_space *space, double *signal)
{
    char path[PATH_BYTES];
    int is_there = 0;

    DT_TRY(run_dir_path(s->out, "sensitivity.json", path));
    DT_TRY(read_signals(space, path, signal, &is_there));
    if (is_there) return DT_OK;
    DT_TRY(sense(s, o, space, signal));
    return write_signals(space, signal, path);
}

dt_status search_order(const settings *s, session *o, const dt_search_space *space, int *order)
{
    double *signal = malloc(((size_t)space->n_choices + 1) * sizeof *signal);

    DT_CHECK(signal, DT_ERR_MEMORY, "no memory for the sensitivity of %d choices", space->n_choices);
    const dt_status status = find_signals(s, o, space, signal);
    if (status == DT_OK) sort_choices(space, signal, order);
    free(signal);
    return status;
}
