/*
 * checkpoint.c - a run in one safetensors file: parameters, optimiser state, and its position as metadata.
 *
 *   tensors   <parameter>                        F32, laid out as PyTorch does (snapshot.h)
 *             optimizer.momentum.<parameter>     SGD; of trained parameters
 *             optimizer.exp_avg.<parameter>      Adam, first moment
 *             optimizer.exp_avg_sq.<parameter>   Adam, second moment
 *             optimizer.mean.<parameter>         where an exponential mean of them is kept (ema)
 *             optimizer.code_turns.<parameter>, code_mean, code_last   where weights freeze (dt_update_freeze)
 *   metadata  format = "detent-checkpoint", version = "3", graph (JSON, graph_json.h: the network with its
 *             quantizers), train (JSON, config_json.h), step, seed, train_images, data (JSON, origin_json.h), extra
 *             since the epoch began: loss_sum and reconstruction_sum (hexadecimal floats; the latter only if it is
 *             not 0), n_correct, n_images, of networks of labels n_labels, n_exact
 *             where gradients are scaled: loss_scale (hexadecimal float), loss_scale_clean, loss_scale_skipped
 *
 * A model that no run of ours made, such as one that was quantized after training, has graph and data alone.
 *
 * Version 2 has `model` in place of graph: the configuration of a built-in network (JSON, config_json.h).
 *
 * Loading checks everything and reads all of the file before it writes to the device, so that a file that is refused
 * changes nothing. Parameters are loaded from any safetensors file with the right names, in any float type; only resume
 * and config need our metadata. A scalar and a list of one value are equal. A prefix that all names have, as wrappers
 * give them, is ignored.
 * Interface: include/detent/checkpoint.h.  Tests: tests/formats/test_checkpoint.c,
 * tests/formats/test_checkpoint_resume.c.
 */
#include "../core/grid_facts.h"

#include "exchange.h"
#include "metadata.h"
#include "origin_json.h"
#include "run_position.h"
#include "snapshot.h"
#include "stored_graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "3" /* DT_CHECKPOINT_NEWEST */

struct dt_run_copy {
    dt_snapshot snapshot;
    dt_safetensors_writer *writer;
    int64_t step;
};

/* A run that has diverged leaves its last good checkpoint where it is. */
static dt_status check_diverged(const dt_run_copy *c, const char *path)
{
    char before[256];
    const dt_values_words words = { before, "; training has diverged, a lower lr may help, or wider clips" };

    snprintf(before, sizeof before, "%.200s: not written: after step %" PRId64 " ", path, c->step);
    return dt_snapshot_check(&c->snapshot, 1, &words);
}

/* Makes all of a file but its values. */
static dt_status fill_copy(dt_run_copy *c, const dt_trainer *t, const char *extra)
{
    DT_TRY(dt_safetensors_writer_create(&c->writer));
    DT_TRY(dt_metadata_begin(c->writer, DT_CHECKPOINT_FORMAT, VERSION));
    DT_TRY(dt_graph_store(c->writer, t->model->graph));
    DT_TRY(dt_run_position_add(c->writer, t));
    if (extra) DT_TRY(dt_safetensors_writer_metadata(c->writer, "extra", extra));
    DT_TRY(dt_snapshot_to_writer(&c->snapshot, c->writer));
    return DT_OK;
}

static void close_copy(dt_run_copy *c)
{
    dt_safetensors_writer_destroy(c->writer);
    dt_snapshot_release(&c->snapshot);
}

/* Opens a copy whose values are on the device. what: for messages, what is to become of it. */
static dt_status open_copy(dt_run_copy *c, const dt_trainer *t, const char *what, const char *extra)
{
    DT_CHECK(!t->is_apart, DT_ERR_ARGUMENT,
             "%s: the optimiser's state lies apart on %d ranks after step %lld; all of them call dt_trainer_gather "
             "before one saves",
             what, t->shares.ranks, (long long)t->step);
    *c = (dt_run_copy){ .step = t->step };
    DT_TRY(dt_snapshot_init(&c->snapshot, t->model, t));
    const dt_status status = fill_copy(c, t, extra);
    if (status != DT_OK) close_copy(c);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_run_copy_create(const dt_trainer *t, const char *extra, dt_run_copy **out)
{
    dt_run_copy *c = malloc(sizeof *c);
    DT_CHECK(c, DT_ERR_MEMORY, "no memory for a copy of the run");

    dt_status status = open_copy(c, t, "a copy of the run", extra);
    if (status == DT_OK) {
        status = dt_snapshot_hold(&c->snapshot);
        if (status != DT_OK) close_copy(c);
    }
    if (status != DT_OK) free(c);
    DT_TRY(status);
    *out = c;
    return DT_OK;
}

dt_status dt_run_copy_write(dt_run_copy *c, const char *path)
{
    DT_TRY(check_diverged(c, path));
    DT_TRY(dt_safetensors_writer_write(c->writer, path));
    return DT_OK;
}

void dt_run_copy_destroy(dt_run_copy *c)
{
    if (!c) return;
    close_copy(c);
    free(c);
}

dt_status dt_checkpoint_save_model(dt_snapshot *s, const char *path, const char *extra, dt_safetensors_writer *w)
{
    DT_TRY(dt_metadata_begin(w, DT_CHECKPOINT_FORMAT, VERSION));
    DT_TRY(dt_graph_store(w, s->model->graph));
    DT_TRY(dt_origin_add(w, &s->model->origin));
    if (extra) DT_TRY(dt_safetensors_writer_metadata(w, "extra", extra));
    DT_TRY(dt_snapshot_check(s, 1, NULL));
    DT_TRY(dt_snapshot_to_writer(s, w));
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_checkpoint_save(const dt_trainer *t, const char *path, const char *extra)
{
    dt_run_copy c;

    DT_TRY(open_copy(&c, t, path, extra));
    const dt_status status = dt_run_copy_write(&c, path);
    close_copy(&c);
    DT_TRY(status);
    return DT_OK;
}

static void shape_text(const int64_t *dim, int ndim, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "%s", ndim ? "" : "scalar");

    for (int i = 0; i < ndim && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%" PRId64, i ? "x" : "", dim[i]);
    }
}

/* Whether the slot can take the tensor; if not, why. */
static int fits(const dt_snapshot_slot *slot, const dt_safetensors_tensor *t, char *why, size_t bytes)
{
    char in_file[80], in_model[80];

    if (!dt_safetensors_is_float(t->type)) {
        snprintf(why, bytes, "%s in the checkpoint, F32 in the model", dt_safetensors_type_name(t->type));
        return 0;
    }
    if (dt_safetensors_has_shape(t, slot->ndim, slot->dim)) return 1;
    shape_text(t->dim, t->ndim, in_file, sizeof in_file);
    shape_text(slot->dim, slot->ndim, in_model, sizeof in_model);
    snprintf(why, bytes, "%s in the checkpoint, %s in the model", in_file, in_model);
    return 0;
}

static int is_moment(const char *name)
{
    return strncmp(name, DT_SNAPSHOT_MOMENTS, strlen(DT_SNAPSHOT_MOMENTS)) == 0;
}

/* What DataParallel and torch.compile put before every name; "" if these names are bare. */
static const char *prefix_of(const dt_safetensors *f)
{
    static const char *const prefixes[] = { "module.", "_orig_mod." };
    const int n = dt_safetensors_count(f);

    for (size_t k = 0; k < sizeof prefixes / sizeof prefixes[0]; k++) {
        int i = 0;
        while (i < n && strncmp(dt_safetensors_at(f, i)->name, prefixes[k], strlen(prefixes[k])) == 0) i++;
        if (n > 0 && i == n) return prefixes[k];
    }
    return "";
}

static const dt_safetensors_tensor *find_after(const dt_safetensors *f, const char *prefix, const char *name)
{
    char whole[DT_NAME_MAX + 64];

    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    return dt_safetensors_find(f, whole);
}

/* Gives every slot its source. No tensor may be left over, except moments if ignore_moments. */
static dt_status match_tensors(dt_snapshot *s, const dt_safetensors *f, int ignore_moments, const char *path)
{
    const char *prefix = prefix_of(f);
    char why[192];

    for (int i = 0; i < s->n_slots; i++) {
        dt_snapshot_slot *slot = &s->slot[i];
        slot->source = find_after(f, prefix, slot->name);
        DT_CHECK(slot->source, DT_ERR_SHAPE, "%s: has no tensor '%s', which the model needs", path, slot->name);
        DT_CHECK(fits(slot, slot->source, why, sizeof why), DT_ERR_SHAPE, "%s: '%s' is %s", path, slot->name, why);
        DT_CHECK(ignore_moments || slot->source->type == DT_SAFETENSORS_F32, DT_ERR_SHAPE,
                 "%s: '%s' is %s, but a run goes on with equal bits, from F32 alone; take the file as --init", path,
                 slot->name, dt_safetensors_type_name(slot->source->type));
    }
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const char *name = dt_safetensors_at(f, i)->name + strlen(prefix);
        DT_CHECK((ignore_moments && is_moment(name)) || dt_snapshot_find(s, name), DT_ERR_SHAPE,
                 "%s: has a tensor '%.80s', which the model does not", path, name);
    }
    return DT_OK;
}

static dt_status load_matched(dt_snapshot *s, const dt_safetensors *f, const char *path)
{
    char before[256];
    const dt_values_words words = { before, "; the file is damaged, or its training diverged: take an earlier one" };

    snprintf(before, sizeof before, "%.200s: ", path);
    DT_TRY(dt_snapshot_from_file(s, f));
    DT_TRY(dt_snapshot_check(s, 0, &words));
    DT_TRY(dt_snapshot_to_device(s));
    return DT_OK;
}

static dt_status resume_at(dt_trainer *t, const dt_safetensors *f, const char *path, dt_snapshot *s, dt_run_position *p)
{
    DT_TRY(dt_run_position_read(f, path, p));
    DT_TRY(dt_run_position_match(p, t, path));
    DT_TRY(match_tensors(s, f, 0, path));
    DT_TRY(load_matched(s, f, path));
    return dt_trainer_seek(t, p->step, &p->state);
}

static dt_status resume(dt_trainer *t, const dt_safetensors *f, const char *path, dt_snapshot *s)
{
    dt_run_position p = { 0 };
    const dt_status status = resume_at(t, f, path, s, &p);

    dt_graph_destroy(p.graph);
    return status;
}

dt_status dt_checkpoint_resume(dt_trainer *t, const char *path)
{
    dt_safetensors *f = NULL;
    dt_snapshot s;

    DT_TRY(dt_snapshot_init(&s, t->model, t));
    dt_status status = dt_safetensors_open(path, &f);
    if (status == DT_OK) status = resume(t, f, path, &s);
    dt_safetensors_close(f);
    dt_snapshot_release(&s);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_checkpoint_load(dt_model *m, const char *path)
{
    dt_safetensors *f = NULL;
    dt_data_origin origin;
    dt_snapshot s;

    DT_TRY(dt_snapshot_init(&s, m, NULL));
    dt_status status = dt_safetensors_open(path, &f);
    if (status == DT_OK) status = match_tensors(&s, f, 1, path);
    if (status == DT_OK)
        status = dt_origin_read(f, path, (int)dt_channels(dt_graph_shape(m->graph, m->graph->image)), &origin);
    if (status == DT_OK) status = load_matched(&s, f, path);
    if (status == DT_OK) m->origin = origin;
    dt_safetensors_close(f);
    dt_snapshot_release(&s);
    DT_TRY(status);
    return DT_OK;
}

typedef void skipped_fn(void *user, const char *name, const char *why);

/* Gives a source to each slot that a tensor fits; reports the other tensors, then the slots whose name is not there. */
static int match_some(dt_snapshot *s, const dt_safetensors *f, skipped_fn *skipped, void *user)
{
    const char *prefix = prefix_of(f);
    int n_matched = 0;
    char why[192];

    if (prefix[0] && skipped) skipped(user, prefix, "all names begin with it, as PyTorch's wrappers write them");
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        dt_snapshot_slot *slot = dt_snapshot_find(s, t->name + strlen(prefix));

        if (is_moment(t->name)) continue;
        if (!slot) snprintf(why, sizeof why, "not in the model");
        if (slot && fits(slot, t, why, sizeof why)) {
            slot->source = t;
            n_matched++;
        } else if (skipped) {
            skipped(user, t->name, why);
        }
    }
    for (int i = 0; skipped && i < s->n_slots; i++) {
        if (!find_after(f, prefix, s->slot[i].name)) skipped(user, s->slot[i].name, "not in the checkpoint");
    }
    return n_matched;
}

/* Other files of detent's have tensors too, but not what is trained. */
static dt_status check_trainable(const dt_safetensors *f, const char *path)
{
    static const char *const exported[][2] = {
        { "detent-program", "an exported program, integers for hardware" },
        { "detent-fixed-point", "the codes of a network for hardware" },
        { "detent-capture", "what a layer saw and gave" },
    };
    const char *format = dt_safetensors_metadata(f, "format");

    for (int i = 0; format && i < 3; i++) {
        DT_CHECK(strcmp(format, exported[i][0]) != 0, DT_ERR_FORMAT,
                 "%s: is %s ('%s'), and has no parameters to train; take the checkpoint that it was made of", path,
                 exported[i][1], format);
    }
    return DT_OK;
}

dt_status dt_checkpoint_load_partial(dt_model *m, const char *path, skipped_fn *skipped, void *user, int *n_loaded)
{
    dt_safetensors *f = NULL;
    dt_snapshot s;
    int n_matched = 0;

    if (dt_exchange_is_file(path)) return dt_exchange_load_partial(m, path, skipped, user, n_loaded);
    DT_TRY(dt_snapshot_init(&s, m, NULL));
    dt_status status = dt_safetensors_open(path, &f);
    if (status == DT_OK) status = check_trainable(f, path);
    if (status == DT_OK) {
        n_matched = match_some(&s, f, skipped, user);
        status = load_matched(&s, f, path);
    }
    dt_safetensors_close(f);
    dt_snapshot_release(&s);
    DT_TRY(status);
    *n_loaded = n_matched;
    return DT_OK;
}

dt_status dt_checkpoint_train_config(const char *path, dt_train_config *out)
{
    dt_train_config saved;
    dt_safetensors *f;

    DT_TRY(dt_safetensors_open(path, &f));
    const dt_status s = dt_checkpoint_read_train(f, path, &saved);
    dt_safetensors_close(f);
    DT_TRY(s);
    *out = saved;
    return DT_OK;
}

dt_status dt_checkpoint_graph(const char *path, dt_graph **out)
{
    dt_safetensors *f;

    DT_TRY(dt_safetensors_open(path, &f));
    const dt_status s = dt_checkpoint_read_graph(f, path, out);
    dt_safetensors_close(f);
    return s;
}
