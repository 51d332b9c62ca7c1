/*
 * search_space.c - prints the space of a mixed-precision search: limits, the choices as QKeras names them, and the size
 *                  of the network of reals, row by row.
 */
#include "search_bits.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIST_BYTES = 256 };

static void format_candidates(const dt_candidates *c, char *text)
{
    int used = 0;

    *text = '\0';
    for (int i = 0; i < c->n; i++) {
        used += snprintf(text + used, LIST_BYTES - (size_t)used, i ? ", %d" : "%d", c->value[i]);
    }
}

static void print_limits(const search_plan *p)
{
    const cJSON *limit = cJSON_GetObjectItemCaseSensitive(p->file, "limit");
    char *text = limit ? json_line(limit) : NULL;

    printf("Limit configuration:%s\n", text ? text : " none, each layer has all candidates");
    cJSON_free(text);
}

static void print_choices(const dt_search_space *space)
{
    char values[LIST_BYTES];

    printf("Search space summary\nDefault search space size: %d (%.0f configurations)\n", dt_search_dimensions(space),
           dt_search_configurations(space));
    for (int i = 0; i < space->n_choices; i++) {
        const dt_search_choice *c = &space->choice[i];
        format_candidates(&c->candidates, values);
        printf("%s (%s)\n  default %d, values %s\n", c->name, c->candidates.n > 1 ? "Choice" : "Fixed",
               c->candidates.value[0], values);
    }
}

/* Bits are whole numbers; energy is not. */
static short_text size_text(const dt_search_goal *goal, double size)
{
    short_text out;

    if (goal->kind != DT_SIZE_ENERGY) return text_count((int64_t)size);
    snprintf(out.s, sizeof out.s, "%.3f", size);
    return out;
}

static const char *unit_of(const dt_search_goal *goal)
{
    return goal->kind == DT_SIZE_ENERGY ? "pJ" : dt_size_kind_names[goal->kind];
}

static double *room_for_rows(const dt_search_space *space)
{
    return malloc(((size_t)space->n_rows + 1) * sizeof(double));
}

void search_print_space(const search_plan *p, const dt_search_space *space)
{
    double *rows = room_for_rows(space);
    dt_search_size size;

    print_limits(p);
    print_choices(space);
    dt_search_size_of(space, &p->goal, NULL, &size, rows);
    printf("\n%-5s %-28s %-12s %12s %8s %12s %14s\n", "index", "name", "operator", "kernel", "bias", "activations",
           unit_of(&p->goal));
    for (int i = 0; rows && i < space->n_rows; i++) {
        const dt_search_row *r = &space->row[i];
        printf("%5d %-28s %-12s %12s %8s %12s %14s\n", i, r->name, r->op, text_count(r->n[DT_CHOICE_KERNEL]).s,
               text_count(r->n[DT_CHOICE_BIAS]).s, text_count(r->n[DT_CHOICE_ACTIVATION]).s,
               size_text(&p->goal, rows[i]).s);
    }
    free(rows);
    printf("reference size %s %s: parameters %s, activations %s\n", size_text(&p->goal, size.total).s,
           unit_of(&p->goal), size_text(&p->goal, size.parameters).s, size_text(&p->goal, size.activations).s);
}

static cJSON *choice_json(const dt_search_choice *c)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "name", c->name);
    cJSON_AddStringToObject(out, "role", dt_choice_role_names[c->role]);
    cJSON_AddItemToObject(out, "values", cJSON_CreateIntArray(c->candidates.value, c->candidates.n));
    return out;
}

dt_status search_print_space_json(const search_plan *p, const dt_search_space *space)
{
    double *rows = room_for_rows(space);
    dt_search_size size;

    DT_CHECK(rows, DT_ERR_MEMORY, "no memory for %d rows", space->n_rows);
    dt_search_size_of(space, &p->goal, NULL, &size, rows);
    cJSON *out = cJSON_CreateObject(), *choices = cJSON_AddArrayToObject(out, "choices");
    cJSON *table = cJSON_AddArrayToObject(out, "rows");
    for (int i = 0; i < space->n_choices; i++) cJSON_AddItemToArray(choices, choice_json(&space->choice[i]));
    for (int i = 0; i < space->n_rows; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", space->row[i].name);
        cJSON_AddStringToObject(row, "operator", space->row[i].op);
        cJSON_AddNumberToObject(row, "size", rows[i]);
        cJSON_AddItemToArray(table, row);
    }
    free(rows);
    cJSON_AddNumberToObject(out, "dimensions", dt_search_dimensions(space));
    cJSON_AddNumberToObject(out, "configurations", dt_search_configurations(space));
    cJSON_AddStringToObject(out, "type", dt_size_kind_names[p->goal.kind]);
    cJSON_AddNumberToObject(out, "reference_parameters", size.parameters);
    cJSON_AddNumberToObject(out, "reference_activations", size.activations);
    cJSON_AddNumberToObject(out, "reference_size", size.total);
    return print_json(out);
}

/* ---- configurations ---- */

static int value_of(const dt_search_space *space, const int *configuration, int choice)
{
    const int index = choice >= 0 ? configuration[choice] : DT_SEARCH_REAL;

    return index >= 0 ? space->choice[choice].candidates.value[index] : 0;
}

void search_format_role(const dt_search_space *space, const int *configuration, dt_choice_role role, char *text,
                        size_t bytes)
{
    size_t used = 0;

    *text = '\0';
    for (int i = 0; i < space->n_choices && used + 8 < bytes; i++) {
        if (space->choice[i].role != role) continue;
        const int value = value_of(space, configuration, i);
        used += (size_t)snprintf(text + used, bytes - used, value ? "%s%d" : "%s-", used ? "," : "", value);
    }
}

static void print_bits(const char *word, int bits)
{
    if (bits > 0) printf(" %s=%d", word, bits);
}

void search_print_network(const search_plan *p, const dt_search_space *space, const int *configuration)
{
    dt_search_size ref, size;

    dt_search_size_of(space, &p->goal, NULL, &ref, NULL);
    dt_search_size_of(space, &p->goal, configuration, &size, NULL);
    printf("stats: delta_p=%g delta_n=%g rate=%g trial_size=%s reference_size=%s delta=%.2f%%\n",
           p->goal.delta_p / 100.0, p->goal.delta_n / 100.0, p->goal.rate, size_text(&p->goal, size.total).s,
           size_text(&p->goal, ref.total).s, 100.0 * dt_search_delta(&p->goal, ref.total, size.total));
    printf("       a_%s=%s/%s (%.2f%%) p_%s=%s/%s (%.2f%%) total=%s/%s (%.2f%%)\n", unit_of(&p->goal),
           size_text(&p->goal, size.activations).s, size_text(&p->goal, ref.activations).s,
           ref.activations > 0 ? 100.0 * size.activations / ref.activations : 100.0, unit_of(&p->goal),
           size_text(&p->goal, size.parameters).s, size_text(&p->goal, ref.parameters).s,
           100.0 * size.parameters / ref.parameters, size_text(&p->goal, size.total).s,
           size_text(&p->goal, ref.total).s, 100.0 * size.total / ref.total);
    for (int i = 0; i < space->n_rows; i++) {
        const dt_search_row *r = &space->row[i];
        int bits[DT_CHOICE_BITS], sum = 0;
        for (int k = 0; k < DT_CHOICE_BITS; k++) sum += bits[k] = value_of(space, configuration, r->choice[k]);
        if (sum == 0 && r->filters < 0) continue;
        printf("%-28s", r->name);
        print_bits("kernel", bits[DT_CHOICE_KERNEL]);
        print_bits("bias", bits[DT_CHOICE_BIAS]);
        print_bits("activation", bits[DT_CHOICE_ACTIVATION]);
        if (r->filters >= 0) printf(" filters=%d%%", value_of(space, configuration, r->filters));
        printf("\n");
    }
}
