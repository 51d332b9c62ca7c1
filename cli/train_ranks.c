/*
 * train_ranks.c - a run of `detent train` on several ranks: what they must have in common before the first step, and
 * how they stop together.
 *
 * Rank 0 looks into the run directory, and the others take its word; each opens data and checkpoint itself, and then
 * gets rank 0's values. Without other ranks these functions do what a single process does.
 */
#include "train.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 1 << 15 };

/* What belongs to a host, or changes no number. */
static int is_of_host(const char *option)
{
    static const char *const names[] = { "data", "device", "gpu", "threads", "init", "no-graph", "report-every", NULL };

    for (int i = 0; names[i]; i++) {
        if (strcmp(option, names[i]) == 0) return 1;
    }
    return 0;
}

/* A line for each option that all ranks must have alike. */
static void describe_options(const settings *s, char *text, size_t bytes)
{
    char value[PATH_BYTES];
    size_t n = 0;

    for (int i = 0; i < n_option_rows && n < bytes; i++) {
        const option_row *row = &option_rows[i];
        if (!(row->commands & FOR_TRAIN) || row->memory == FORGOTTEN || is_of_host(row->name)) continue;
        option_format(row, s, value, sizeof value);
        n += (size_t)snprintf(text + n, bytes - n, "--%s %.512s\n", row->name, value);
    }
}

dt_status train_meet(run *r, const rank_place *place)
{
    static char text[TEXT_BYTES];

    DT_TRY(meet_ranks(r->s, place, r->s->out, &r->dist));
    describe_options(r->s, text, sizeof text);
    DT_TRY(dt_dist_agree(r->dist, "options", text));
    return DT_OK;
}

dt_status train_share_directory(run *r)
{
    if (r->rank == 0) DT_TRY(train_look_into_directory(r));
    DT_TRY(dt_dist_broadcast(r->dist, "position", &r->goes_on, sizeof r->goes_on));
    DT_TRY(dt_dist_broadcast(r->dist, "position", &r->state, sizeof r->state));
    return DT_OK;
}

dt_status train_share_start(run *r)
{
    const dt_data_origin *origin = dt_model_get_origin(r->o.model);
    dt_dataset_view train, test;
    char text[1024];

    if (!r->dist) return DT_OK;
    dt_dataset_look(r->o.train_set, &train);
    dt_dataset_look(r->o.test_set, &test);
    snprintf(text, sizeof text,
             "detent %s\nnetwork of %" PRId64 " parameters\n%.100s, checksum %.64s\n%" PRId64
             " training images\n%" PRId64 " test images, checksum %.64s\nseed %" PRIu64 "\n",
             DT_VERSION, dt_model_count(r->o.model), origin->name, origin->fingerprint, train.n, test.n,
             test.fingerprint, r->s->seed);
    DT_TRY(dt_dist_agree(r->dist, "what is trained", text));
    DT_TRY(dt_trainer_broadcast(r->o.trainer));
    return DT_OK;
}

dt_status train_is_asked_to_stop(run *r, int *out)
{
    *out = interrupt_requested();
    DT_TRY(dt_dist_any(r->dist, "stopping together", out));
    return DT_OK;
}
