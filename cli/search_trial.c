/*
 * search_trial.c - a trial of a mixed-precision search as a run of `detent train`: its bits, its network if filters
 *                  changed, its command line.
 *
 * A trial begins with the values of the network of reals, as far as their shapes are equal. It is a run as any other,
 * so one that was stopped goes on, and one that is complete ends at once.
 */
#include "search_bits.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PATIENCE = 20, PATIENCE_SHARE = 5 /* one epoch in */ };

static int bits_of(const trial_maker *m, const int *configuration, const dt_search_row *row, int role)
{
    const int choice = row->choice[role], index = choice >= 0 ? configuration[choice] : DT_SEARCH_REAL;

    return index >= 0 ? m->space->choice[choice].candidates.value[index] : 0;
}

/* bbits: 0, where the bias is real or there is none. */
static void add_bits(cJSON *to, const char *name, int wbits, int abits, int bbits)
{
    cJSON *one = cJSON_AddObjectToObject(to, name);

    if (wbits > 0 && abits > 0) {
        cJSON_AddNumberToObject(one, "wbits", wbits);
        cJSON_AddNumberToObject(one, "abits", abits);
        if (bbits > 0) cJSON_AddNumberToObject(one, "bbits", bbits);
    } else {
        cJSON_AddStringToObject(one, "wbits", "float");
        cJSON_AddStringToObject(one, "abits", "float");
    }
}

/* Of a layer whose quantizer stands before it: what it reads has the layer's bits; the image's are fixed. */
static void add_layer(const trial_maker *m, const int *configuration, const dt_search_row *row, cJSON *to)
{
    const dt_search_row *source = row->reads >= 0 ? &m->space->row[row->reads] : NULL;
    const int kernel = bits_of(m, configuration, row, DT_CHOICE_KERNEL);
    const int value = source && source->bits > 0 ? kernel
                      : source                   ? bits_of(m, configuration, source, DT_CHOICE_ACTIVATION)
                                                 : 0;

    add_bits(to, row->name, kernel, m->p->what.rule == DT_RULE_QKERAS ? kernel : value,
             bits_of(m, configuration, row, DT_CHOICE_BIAS));
}

/* The file of --bits. Quantizers of the rule qkeras have entries of their own, which say more than a layer's. */
static cJSON *bits_json(const trial_maker *m, const int *configuration)
{
    cJSON *out = cJSON_CreateObject();

    for (int i = 0; i < m->space->n_rows; i++) {
        if (m->space->row[i].n[DT_CHOICE_KERNEL] > 0) add_layer(m, configuration, &m->space->row[i], out);
    }
    for (int i = 0; m->p->what.rule == DT_RULE_QKERAS && i < m->space->n_rows; i++) {
        const dt_search_row *row = &m->space->row[i];
        const int bits = bits_of(m, configuration, row, DT_CHOICE_ACTIVATION);
        if (row->n[DT_CHOICE_ACTIVATION] > 0) add_bits(out, row->name, bits, bits, 0);
    }
    return out;
}

/* Writes a file that says what the trial in dir is. What another trial of that number has left there goes before: so it
 * is never taken for this one's, whenever the search is stopped. */
static dt_status write_text(const char *dir, const char *name, const char *text, char path[PATH_BYTES])
{
    char *was;
    size_t bytes;

    DT_TRY(run_dir_path(dir, name, path));
    DT_TRY(read_file(path, &was, &bytes));
    const int is_other = was && strcmp(was, text) != 0;
    free(was);
    if (is_other) DT_TRY(run_dir_sweep(dir, 1));
    return dt_file_replace(path, text, strlen(text));
}

static dt_status write_bits(const trial_maker *m, const int *configuration, const char *dir, char path[PATH_BYTES])
{
    cJSON *object = bits_json(m, configuration);
    char *text = object ? json_text(object) : NULL;

    cJSON_Delete(object);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for the bits of %s", dir);
    const dt_status status = write_text(dir, "bits.json", text, path);
    cJSON_free(text);
    return status;
}

static int has_filters(const trial_maker *m)
{
    for (int i = 0; i < m->space->n_choices; i++) {
        if (m->space->choice[i].role == DT_CHOICE_FILTERS) return 1;
    }
    return 0;
}

static dt_status write_network(const trial_maker *m, const int *configuration, const char *dir, char path[PATH_BYTES])
{
    dt_graph *g;
    char *text = NULL;

    DT_TRY(dt_search_network(m->network, m->space, configuration, &g));
    dt_status status = dt_graph_print(g, DT_GRAPH_FILE, &text);
    dt_graph_destroy(g);
    if (status == DT_OK) status = write_text(dir, "network.json", text, path);
    free(text);
    return status;
}

dt_status search_trial_size(const trial_maker *m, const int *configuration, dt_search_size *out)
{
    dt_search_space *space;
    dt_graph *g;

    if (!has_filters(m)) {
        dt_search_size_of(m->space, &m->p->goal, configuration, out, NULL);
        return DT_OK;
    }
    DT_TRY(dt_search_network(m->network, m->space, configuration, &g));
    const dt_status status = dt_search_space_create(g, &m->p->what, &space);
    dt_graph_destroy(g);
    DT_TRY(status);
    dt_search_size_of(space, &m->p->goal, configuration, out, NULL);
    dt_search_space_destroy(space);
    return DT_OK;
}

/* The learning rate of a trial: step i of n on the way from lr * (1 + min(0, delta)) to 1.1 lr, as in QKeras. */
static dt_status choose_rate(const trial_maker *m, const int *configuration, job_line *line)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(m->p->options, "lr");
    dt_train_config usual;
    dt_search_size size;

    for (int i = 0; i < m->space->n_choices; i++) {
        const dt_search_choice *c = &m->space->choice[i];
        if (c->role != DT_CHOICE_RATE) continue;
        dt_train_config_default(NULL, &usual);
        DT_TRY(search_trial_size(m, configuration, &size));
        const double lr = cJSON_IsNumber(given) ? given->valuedouble : (double)usual.lr;
        const double delta = dt_search_delta(&m->p->goal, m->reference, size.total);
        const double least = delta < 0.0 ? 1.0 + delta : 1.0;
        const double share = (double)configuration[i] / (c->candidates.n - 1);
        job_word(line, "--lr=%s", text_double(lr * (least + share * (1.1 - least))).s);
    }
    return DT_OK;
}

static int has_option(const trial_maker *m, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(m->p->options, name) != NULL;
}

/* Options of the search that its trials have too, unless the file says other ones. */
static void add_own(const trial_maker *m, job_line *line)
{
    const settings *s = m->s;

    if (!has_option(m, "dataset") && m->dataset[0]) job_word(line, "--dataset=%s", m->dataset);
    if (!has_option(m, "data") && s->data_dir) job_word(line, "--data=%s", s->data_dir);
    if (!has_option(m, "test-size") && s->test_size > 0) job_word(line, "--test-size=%lld", (long long)s->test_size);
    if (!has_option(m, "val-size")) job_word(line, "--val-size=%lld", (long long)s->tune_size);
    if (!has_option(m, "device")) job_word(line, "--device=%s", device_words[s->device]);
    if (!has_option(m, "threads")) job_word(line, "--threads=%d", s->threads);
    if (!has_option(m, "precision")) job_word(line, "--precision=%s", dt_precision_names[s->precision]);
    job_word(line, "--seed=%llu", (unsigned long long)s->seed);
}

static dt_status add_model(const trial_maker *m, const int *configuration, const char *dir, job_line *line)
{
    const int is_own = !m->p->transfer || has_filters(m) || !m->s->checkpoint;
    char path[PATH_BYTES];

    if (!is_own) {
        job_word(line, "--model=%s", m->s->checkpoint);
        return DT_OK;
    }
    DT_TRY(write_network(m, configuration, dir, path));
    job_word(line, "--model=%s", path);
    if (m->p->transfer && m->s->checkpoint) job_word(line, "--init=%s", m->s->checkpoint);
    return DT_OK;
}

static void add_epochs(const trial_maker *m, int epochs, job_line *line)
{
    const int share = epochs / PATIENCE_SHARE < MOST_PATIENCE ? epochs / PATIENCE_SHARE : MOST_PATIENCE;
    const int patience = m->s->trial_patience >= 0 ? m->s->trial_patience : share;

    if (epochs > 0) job_word(line, "--epochs=%d", epochs);
    if (epochs > 0) job_word(line, "--patience=%d", patience);
}

dt_status search_trial_line(const trial_maker *m, const int *configuration, int epochs, const char *dir, job_line *line)
{
    const int is_qkeras = m->p->what.rule == DT_RULE_QKERAS;
    char path[PATH_BYTES];

    DT_TRY(dt_folder_make(dir));
    DT_TRY(write_bits(m, configuration, dir, path));
    job_begin(line, "train");
    DT_TRY(add_model(m, configuration, dir, line));
    job_word(line, "--resume");
    job_options(line, m->p->options);
    add_own(m, line);
    job_word(line, is_qkeras ? "--wbits=8" : "--wbits=float");
    job_word(line, is_qkeras ? "--abits=8" : "--abits=float");
    job_word(line, "--bits=%s", path);
    add_epochs(m, epochs, line);
    DT_TRY(choose_rate(m, configuration, line));
    job_word(line, "--out=%s", dir);
    return DT_OK;
}
