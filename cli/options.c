/*
 * options.c - a subcommand's command line, by argp, from the table of settings.c.
 *
 * An option given wins over the recipe and over the defaults wherever it stands on the line. So the line is read
 * first, and its options are applied when the base is known: the library's defaults for --model, or --recipe's, or with
 * --resume the options of the run in --out.
 */
#include "cli.h"

#include <argp.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_KEY = 0x1000, MAX_ROWS = 128, HELP_BYTES = 256 };

/* What the line has: given[i] is the argument of option_rows[i], "" for a flag, NULL if it is not there. */
typedef struct {
    const char *given[MAX_ROWS];
    settings scratch;
} line;

static const char *const group_titles[] = { NULL,     "Model:", "Data:",   "Training:", "Run:",
                                            "Files:", "Array:", "Search:", "Device:",   "Output:" };
enum { N_GROUPS = sizeof group_titles / sizeof group_titles[0] };

/* argp wants everything beforehand: room for the rows, the titles and the end mark. */
static char help[MAX_ROWS][HELP_BYTES];
static struct argp_option argp_rows[MAX_ROWS + N_GROUPS + 1];

/* about, range, default: "Bits of a weight (2..8 or float; default 4)". */
static void write_help(const option_row *row, const settings *defaults, char *out)
{
    char range[VALUE_BYTES], value[PATH_BYTES] = "";

    option_range(row, range, sizeof range);
    if (row->kind != KIND_FLAG) option_format(row, defaults, value, sizeof value);
    snprintf(out, HELP_BYTES, "%s%s%s%s%s%.40s%s", row->about, range[0] || value[0] ? " (" : "", range,
             range[0] && value[0] ? "; " : "", value[0] ? "default " : "", value, range[0] || value[0] ? ")" : "");
}

static void build_argp_rows(const command *cmd, const settings *defaults)
{
    struct argp_option *out = argp_rows;
    int group = 0;

    assert(n_option_rows <= MAX_ROWS);
    for (int i = 0; i < n_option_rows; i++) {
        const option_row *row = &option_rows[i];

        if (!(row->commands & cmd->bit)) continue;
        if (row->group != group) {
            group = row->group;
            *out++ = (struct argp_option){ .doc = group_titles[group], .group = group };
        }
        write_help(row, defaults, help[i]);
        *out++ = (struct argp_option){
            .name = row->name, .key = FIRST_KEY + i, .arg = row->unit, .doc = help[i], .group = group
        };
    }
    *out = (struct argp_option){ 0 };
}

/* Without the slashes that a shell completes folders with: joined with a file's name they would be two. */
static void trim_slashes(char *path)
{
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    line *l = state->input;

    if (key == ARGP_KEY_ARG) argp_error(state, "what is '%s'? Every value follows its option", arg);
    if (key < FIRST_KEY || key >= FIRST_KEY + n_option_rows) return ARGP_ERR_UNKNOWN;

    const option_row *row = &option_rows[key - FIRST_KEY];
    if (arg && row->kind == KIND_TEXT) trim_slashes(arg);
    const dt_status status = option_set(row, arg, &l->scratch);
    if (status != DT_OK) {
        char message[HELP_BYTES];
        failure_message(status, message, sizeof message);
        argp_error(state, "%s", message);
    }
    l->given[key - FIRST_KEY] = arg ? arg : "";
    return 0;
}

static dt_status apply_given(const line *l, settings *s)
{
    for (int i = 0; i < n_option_rows; i++) {
        if (l->given[i]) DT_TRY(option_set(&option_rows[i], l->given[i], s));
    }
    return DT_OK;
}

static int is_given(const line *l, const char *name)
{
    for (int i = 0; i < n_option_rows; i++) {
        if (l->given[i] && strcmp(option_rows[i].name, name) == 0) return 1;
    }
    return 0;
}

static dt_status start_from_defaults(const line *l, settings *s)
{
    DT_TRY(dt_model_config_default(l->scratch.model.name, &s->model));
    dt_train_config_default(l->scratch.model.name, &s->train);
    if (l->scratch.recipe) DT_TRY(dt_train_recipe(l->scratch.recipe, &s->model, &s->train));
    s->model.name = l->scratch.model.name;
    if (s->model.caps_dim > 0) s->dataset = "mnist"; /* what capsule networks are first tried on */
    if (is_given(l, "dataset")) s->dataset = l->scratch.dataset;
    dt_config_for_dataset(s->dataset, &s->model, &s->train);
    return DT_OK;
}

/* Options that make the numbers of a run: an equal value may be given again, no other. */
static dt_status refuse_changes(const settings *saved, const settings *now)
{
    char old_value[PATH_BYTES], new_value[PATH_BYTES];

    for (int i = 0; i < n_option_rows; i++) {
        if (option_rows[i].memory != FIXED) continue;
        option_format(&option_rows[i], saved, old_value, sizeof old_value);
        option_format(&option_rows[i], now, new_value, sizeof new_value);
        DT_CHECK(strcmp(old_value, new_value) == 0, DT_ERR_ARGUMENT,
                 "--%s is '%s', but the run in %s has '%s'; leave it out to go on, or start another run with --out",
                 option_rows[i].name, new_value, now->out, old_value);
    }
    return DT_OK;
}

static dt_status start_from_saved(const line *l, settings *s)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(s->saved, "options");

    DT_CHECK(cJSON_IsObject(options), DT_ERR_FORMAT, "%s/config.json: no object 'options'", l->scratch.out);
    DT_TRY(settings_from_json(options, s));

    const settings saved = *s;
    DT_TRY(apply_given(l, s));
    return refuse_changes(&saved, s);
}

dt_status options_parse(const command *cmd, int argc, char **argv, settings *s)
{
    static line l;
    const struct argp argp = { .options = argp_rows, .parser = parse_option, .doc = cmd->about };

    DT_TRY(settings_default(s));
    settings shown = *s;
    if (cmd->bit != FOR_TRAIN) shown.dataset = NULL;
    build_argp_rows(cmd, &shown);
    l.scratch = *s;
    argp_parse(&argp, argc, argv, 0, NULL, &l);
    s->argc = argc;
    s->argv = argv;

    if (l.scratch.resume && l.scratch.out) DT_TRY(run_dir_read_config(l.scratch.out, &s->saved));
    if (s->saved) return start_from_saved(&l, s);
    DT_TRY(start_from_defaults(&l, s));
    if (cmd->bit != FOR_TRAIN) s->dataset = NULL; /* the checkpoint has its own */
    return apply_given(&l, s);
}
