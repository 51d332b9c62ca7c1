/*
 * search_file.c - reads the file of a mixed-precision search. search_bits.h has the format.
 *
 * Tests: tests/cli/test_cli_search.sh.
 */
#include "search_bits.h"

#include "sweep.h"

#include <stdlib.h>
#include <string.h>

static const char *const members[] = {
    "options", "kernel",        "bias",           "activation",       "limit",
    "goal",    "layer_indexes", "filters",        "filters_of",       "filters_whole",
    "blocks",  "block_order",   "learning_rates", "transfer_weights", NULL
};
static const char *const roles[DT_CHOICE_BITS] = { "kernel", "bias", "activation" };
static const dt_candidates usual_bits = { { 2, 3, 4, 6, 8 }, 5 };

typedef struct {
    const char *path;
    search_plan *p;
} reader;

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static dt_status check_names(const reader *r, const cJSON *object, const char *where, const char *const *names)
{
    const cJSON *item;

    DT_CHECK(cJSON_IsObject(object), DT_ERR_FORMAT, "%s: %s is no JSON object", r->path, where);
    cJSON_ArrayForEach(item, object)
    {
        int is_known = 0;
        for (int i = 0; names[i]; i++) is_known |= strcmp(item->string, names[i]) == 0;
        DT_CHECK(is_known, DT_ERR_FORMAT, "%s: \"%s\" in %s is unknown", r->path, item->string, where);
    }
    return DT_OK;
}

static int is_whole(const cJSON *item)
{
    return cJSON_IsNumber(item) && (double)item->valueint == item->valuedouble;
}

static dt_status read_candidates(const reader *r, const char *where, const cJSON *list, dt_candidates *out)
{
    const cJSON *item;
    dt_candidates c = { 0 };

    DT_CHECK(cJSON_IsArray(list) && cJSON_GetArraySize(list) <= DT_CANDIDATES_MOST, DT_ERR_FORMAT,
             "%s: %s is no list of at most %d whole numbers", r->path, where, DT_CANDIDATES_MOST);
    cJSON_ArrayForEach(item, list)
    {
        DT_CHECK(is_whole(item), DT_ERR_FORMAT, "%s: %s is no list of whole numbers", r->path, where);
        c.value[c.n++] = item->valueint;
    }
    *out = c;
    return DT_OK;
}

/* Numbers of the object that is `name` of the file; they stay as they are where it does not say. */
static dt_status read_number(const reader *r, const cJSON *object, const char *name, double *out)
{
    const cJSON *item = member(object, name);

    DT_CHECK(!item || cJSON_IsNumber(item), DT_ERR_FORMAT, "%s: goal, \"%s\" is no number", r->path, name);
    if (item) *out = item->valuedouble;
    return DT_OK;
}

static dt_status read_int(const reader *r, const cJSON *object, const char *name, int *out)
{
    const cJSON *item = member(object, name);

    DT_CHECK(!item || is_whole(item) || cJSON_IsBool(item), DT_ERR_FORMAT, "%s: \"%s\" is no whole number", r->path,
             name);
    if (item) *out = cJSON_IsBool(item) ? cJSON_IsTrue(item) : item->valueint;
    return DT_OK;
}

static dt_status read_word(const reader *r, const cJSON *object, const char *name, const char *const *words, int *out)
{
    const cJSON *item = member(object, name);
    const char *word = cJSON_GetStringValue(item);

    for (int i = 0; word && words[i]; i++) {
        if (strcmp(word, words[i]) != 0) continue;
        *out = i;
        return DT_OK;
    }
    DT_CHECK(!item, DT_ERR_FORMAT, "%s: \"%s\" is not one of %s, %s%s%s", r->path, name, words[0], words[1],
             words[2] ? ", " : "", words[2] ? words[2] : "");
    return DT_OK;
}

static dt_status read_names(const reader *r, const char *name, const char **out, int most, int *n)
{
    const cJSON *list = member(r->p->file, name), *item;

    DT_CHECK(!list || (cJSON_IsArray(list) && cJSON_GetArraySize(list) <= most), DT_ERR_FORMAT,
             "%s: %s is no list of at most %d names or patterns", r->path, name, most);
    cJSON_ArrayForEach(item, list)
    {
        DT_CHECK(cJSON_IsString(item), DT_ERR_FORMAT, "%s: %s is no list of names or patterns", r->path, name);
        out[(*n)++] = item->valuestring;
    }
    return DT_OK;
}

/* ---- limits ---- */

static dt_status read_limit_of(const reader *r, const cJSON *item, int role, dt_search_limit *l)
{
    if (cJSON_IsArray(item)) return read_candidates(r, l->of, item, &l->list[role]);
    DT_CHECK(is_whole(item) && item->valueint > 0, DT_ERR_FORMAT,
             "%s: limit, \"%s\": each is the most bits, or a list of bits", r->path, l->of);
    l->most[role] = item->valueint;
    return DT_OK;
}

/* [kernel, bias, activation], or of what has no weights [activation]. */
static dt_status read_limit(const reader *r, const cJSON *item, int otherwise, dt_search_limit *l)
{
    const int n = cJSON_GetArraySize(item);

    *l = (dt_search_limit){ .of = item->string };
    DT_CHECK(cJSON_IsArray(item) && n <= DT_CHOICE_BITS, DT_ERR_FORMAT,
             "%s: limit, \"%s\": expected [kernel, bias, activation] or [activation]", r->path, item->string);
    for (int role = 0; role < DT_CHOICE_BITS; role++) l->most[role] = otherwise;
    for (int i = 0; i < n; i++) {
        const int role = n == 1 ? DT_CHOICE_ACTIVATION : i;
        l->most[role] = 0;
        DT_TRY(read_limit_of(r, cJSON_GetArrayItem(item, i), role, l));
    }
    return DT_OK;
}

static dt_status read_limits(reader *r)
{
    const cJSON *limits = member(r->p->file, "limit"), *item;
    int otherwise = 8; /* as in QKeras */

    if (!limits) return DT_OK;
    DT_CHECK(cJSON_IsObject(limits), DT_ERR_FORMAT, "%s: limit is no JSON object", r->path);
    DT_TRY(read_int(r, limits, "default", &otherwise));
    cJSON_ArrayForEach(item, limits)
    {
        if (strcmp(item->string, "default") == 0) continue;
        DT_CHECK(r->p->what.n_limits < SEARCH_LIMITS, DT_ERR_FORMAT, "%s: more than %d limits", r->path, SEARCH_LIMITS);
        DT_TRY(read_limit(r, item, otherwise, &r->p->limit[r->p->what.n_limits++]));
    }
    return DT_OK;
}

/* ---- the rest ---- */

static dt_status read_rows(reader *r)
{
    const cJSON *list = member(r->p->file, "layer_indexes"), *item;

    if (!list) return DT_OK;
    DT_CHECK(cJSON_IsArray(list) && cJSON_GetArraySize(list) <= SEARCH_ROWS, DT_ERR_FORMAT,
             "%s: layer_indexes is no list of at most %d rows of the table", r->path, SEARCH_ROWS);
    cJSON_ArrayForEach(item, list)
    {
        DT_CHECK(is_whole(item), DT_ERR_FORMAT, "%s: layer_indexes is no list of whole numbers", r->path);
        r->p->row[r->p->what.n_rows++] = item->valueint;
    }
    r->p->what.row = r->p->row;
    return DT_OK;
}

static dt_status read_goal(const reader *r)
{
    static const char *const names[] = { "type",          "delta_p",     "delta_n",    "rate",
                                         "stress",        "ref_bits",    "input_bits", "output_bits",
                                         "ref_bias_bits", "count_input", "parameters", "activations",
                                         "least_memory",  NULL };
    const cJSON *goal = member(r->p->file, "goal");
    dt_search_goal *g = &r->p->goal;
    int kind = (int)g->kind;

    if (!goal) return DT_OK;
    DT_TRY(check_names(r, goal, "goal", names));
    DT_TRY(read_word(r, goal, "type", dt_size_kind_names, &kind));
    g->kind = (dt_size_kind)kind;
    DT_TRY(read_number(r, goal, "delta_p", &g->delta_p));
    DT_TRY(read_number(r, goal, "delta_n", &g->delta_n));
    DT_TRY(read_number(r, goal, "rate", &g->rate));
    DT_TRY(read_number(r, goal, "stress", &g->stress));
    DT_TRY(read_number(r, goal, "least_memory", &g->least_memory));
    DT_TRY(read_int(r, goal, "ref_bits", &g->ref_bits));
    DT_TRY(read_int(r, goal, "ref_bias_bits", &g->ref_bias_bits));
    DT_TRY(read_int(r, goal, "input_bits", &g->input_bits));
    DT_TRY(read_int(r, goal, "output_bits", &g->output_bits));
    DT_TRY(read_int(r, goal, "count_input", &g->count_input));
    DT_TRY(read_int(r, goal, "parameters", &g->parameters));
    DT_TRY(read_int(r, goal, "activations", &g->activations));
    DT_CHECK(g->rate > 1.0 && g->stress > 0.0 && g->ref_bits > 0 && g->ref_bias_bits > 0, DT_ERR_FORMAT,
             "%s: goal: rate is above 1, and stress and bits of the reference are above 0", r->path);
    return DT_OK;
}

static dt_status read_filters(reader *r)
{
    static const char *const words[] = { "layer", "network", NULL };
    const cJSON *list = member(r->p->file, "filters");

    if (list) DT_TRY(read_candidates(r, "filters", list, &r->p->what.filters));
    DT_TRY(read_word(r, r->p->file, "filters_of", words, &r->p->what.filters_together));
    return read_names(r, "filters_whole", r->p->whole, SEARCH_NAMES, &r->p->what.n_whole);
}

/* The rule of the trials' quantizers: that of the options, else the usual one. */
static dt_status read_rule(reader *r)
{
    int rule = (int)r->p->what.rule;

    DT_TRY(read_word(r, r->p->options, "quant-rule", dt_quant_rule_names, &rule));
    r->p->what.rule = (dt_quant_rule)rule;
    if (rule == DT_RULE_QKERAS) r->p->what.input_bits = 0;
    if (rule != DT_RULE_QKERAS) DT_TRY(read_int(r, r->p->options, "input-bits", &r->p->what.input_bits));
    return DT_OK;
}

static dt_status read_all(reader *r)
{
    static const char *const orders[] = { "sequential", "cost", NULL };
    static const char *const taken[] = { "model", "init", "wbits", "abits", "bits", "seed", NULL };
    search_plan *p = r->p;

    DT_TRY(check_names(r, p->file, "the file", members));
    p->options = member(p->file, "options");
    if (p->options) DT_TRY(sweep_check_options(r->path, "options", p->options));
    for (int i = 0; taken[i]; i++) {
        DT_CHECK(!member(p->options, taken[i]), DT_ERR_FORMAT,
                 "%s: options, \"%s\": the search decides on this option itself; leave it out", r->path, taken[i]);
    }
    DT_TRY(read_rule(r));
    for (int role = 0; role < DT_CHOICE_BITS; role++) {
        const cJSON *list = member(p->file, roles[role]);
        if (list) DT_TRY(read_candidates(r, roles[role], list, &p->what.bits[role]));
    }
    DT_TRY(read_limits(r));
    DT_TRY(read_rows(r));
    DT_TRY(read_goal(r));
    DT_TRY(read_filters(r));
    DT_TRY(read_int(r, p->file, "learning_rates", &p->what.rates));
    DT_TRY(read_int(r, p->file, "transfer_weights", &p->transfer));
    DT_TRY(read_names(r, "blocks", p->block, SEARCH_BLOCKS, &p->n_blocks));
    return read_word(r, p->file, "block_order", orders, &p->blocks_by_cost);
}

static dt_status open_file(const settings *s, search_plan *p)
{
    char *content = NULL;
    size_t bytes;

    if (!s->space) {
        p->file = cJSON_CreateObject();
        DT_CHECK(p->file, DT_ERR_MEMORY, "no memory for a search without a file");
        return DT_OK;
    }
    DT_TRY(read_file(s->space, &content, &bytes));
    DT_CHECK(content, DT_ERR_IO, "--space %s: there is no such file", s->space);
    p->file = cJSON_ParseWithLength(content, bytes);
    free(content);
    DT_CHECK(p->file, DT_ERR_FORMAT, "--space %s: not JSON", s->space);
    return DT_OK;
}

dt_status search_plan_read(const settings *s, search_plan *out)
{
    dt_model_config usual;

    *out = (search_plan){ .transfer = 1 };
    DT_TRY(dt_model_config_default(s->checkpoint ? "vgg16" : s->model.name, &usual));
    dt_search_goal_default(&out->goal);
    out->what = (dt_search_what){ .rule = usual.rule, .input_bits = usual.input_bits, .limit = out->limit };
    out->what.whole = out->whole;
    out->what.bits[DT_CHOICE_KERNEL] = out->what.bits[DT_CHOICE_ACTIVATION] = usual_bits;
    dt_status status = open_file(s, out);
    if (status == DT_OK) status = read_all(&(reader){ s->space ? s->space : "the search", out });
    if (status != DT_OK) search_plan_free(out);
    return status;
}

void search_plan_free(search_plan *p)
{
    cJSON_Delete(p->file);
    *p = (search_plan){ 0 };
}
