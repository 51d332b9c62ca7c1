/*
 * options.c - a subcommand's command line, by argp, from the table of settings.c.
 *
 * An option on the command line wins over the recipe and over the defaults, wherever it stands on the line. So the line
 * is read first, and its options are applied when the base is known: the library's defaults for --model, or those of
 * --recipe, with --config those of another run, or with --resume those of the run in --out. A word without an option is
 * the checkpoint, of `compare` a second one is what it is compared with, of `sweep` its file, and of `report` a run.
 */
#include "cli.h"

#include <argp.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_KEY = 0x1000, KEY_USAGE = 0x100, N_OWN_ROWS = 5 /* and the end mark */ };

/* What the line has: given[i] is the argument of option_rows[i], "" for a flag, NULL if it is not there. */
typedef struct {
    const command *cmd;
    const char *given[MAX_OPTION_ROWS];
    settings scratch;
} line;

static const char *const group_titles[] = { NULL,     "Model:", "Data:",   "Training:", "Run:",
                                            "Files:", "Array:", "Search:", "Device:",   "Output:" };
enum { N_GROUPS = sizeof group_titles / sizeof group_titles[0] };

/* argp wants everything beforehand: room for the rows, the titles and own_rows. */
static char help[MAX_OPTION_ROWS][HELP_BYTES];
static struct argp_option argp_rows[MAX_OPTION_ROWS + N_GROUPS + N_OWN_ROWS];

/* In place of argp's own, which know no -h, tell the defaults of no --model, and exit with 0 on a full disk. */
static const struct argp_option own_rows[N_OWN_ROWS] = {
    { .name = "help", .key = '?', .doc = "Print this list, with the defaults of what stands before it", .group = -1 },
    { .key = 'h', .flags = OPTION_ALIAS, .group = -1 },
    { .name = "usage", .key = KEY_USAGE, .doc = "Print the options alone", .group = -1 },
    { .name = "version", .key = 'V', .doc = "Print the version", .group = -1 },
};

void options_help(const option_row *row, const settings *defaults, char *out)
{
    char range[HELP_BYTES], value[PATH_BYTES] = "";

    option_range(row, range, sizeof range);
    if (row->kind != KIND_FLAG) option_format(row, defaults, value, sizeof value);
    const int n =
        snprintf(out, HELP_BYTES, "%s%s%s%s%s%.40s%s", row->about, range[0] || value[0] ? " (" : "", range,
                 range[0] && value[0] ? "; " : "", value[0] ? "default " : "", value, range[0] || value[0] ? ")" : "");
    assert(n < HELP_BYTES);
    (void)n;
}

static void build_argp_rows(const command *cmd, const settings *defaults)
{
    struct argp_option *out = argp_rows;
    int group = 0;

    for (int i = 0; i < n_option_rows; i++) {
        const option_row *row = &option_rows[i];

        if (!(row->commands & cmd->bit)) continue;
        if (row->group != group) {
            group = row->group;
            *out++ = (struct argp_option){ .doc = group_titles[group], .group = group };
        }
        options_help(row, defaults, help[i]);
        *out++ = (struct argp_option){
            .name = row->name, .key = FIRST_KEY + i, .arg = row->unit, .doc = help[i], .group = group
        };
    }
    memcpy(out, own_rows, sizeof own_rows);
}

static int is_given(const line *l, const char *name)
{
    for (int i = 0; i < n_option_rows; i++) {
        if (l->given[i] && strcmp(option_rows[i].name, name) == 0) return 1;
    }
    return 0;
}

/* The recipe's settings, but for the options that are its network's own where --model is another one. network: NULL
 * where
 * --model is not given. */
static dt_status take_recipe(const char *recipe, const char *network, settings *s)
{
    DT_TRY(dt_train_recipe(recipe, &s->model, &s->train));
    DT_CHECK(!network || !dt_network_is_file(network) || dt_network_is_file(s->model.name), DT_ERR_ARGUMENT,
             "--recipe %s is for %s, and --model is the file %s; give the settings by their own options", recipe,
             s->model.name, network);
    if (!network || strcmp(s->model.name, network) == 0) return DT_OK;
    s->model.name = network;
    dt_model_options_default(&s->model);
    return DT_OK;
}

static dt_status start_from_defaults(const line *l, settings *s)
{
    DT_TRY(dt_model_config_default(l->scratch.model.name, &s->model));
    dt_train_config_default(l->scratch.model.name, &s->train);
    if (l->scratch.recipe) {
        DT_TRY(take_recipe(l->scratch.recipe, is_given(l, "model") ? l->scratch.model.name : NULL, s));
    }
    if (dt_network_has_capsules(s->model.name)) s->dataset = "mnist"; /* what capsule networks are first tried on */
    if (is_given(l, "dataset")) s->dataset = l->scratch.dataset;
    dt_config_for_dataset(s->dataset, &s->model, &s->train);
    return DT_OK;
}

/* Whether training changes images at random. */
static int augments(const dt_train_config *c)
{
    return c->crop_pad > 0 || c->shift > 0 || c->rotation > 0.0f || c->flip_share > 0.0f || c->cutout > 0 ||
           c->brightness > 0.0f || c->contrast > 0.0f;
}

/* What follows from the options where they leave it open. */
static void settle(const line *l, settings *s)
{
    const int is_taught = s->teacher || s->stages_teach;

    if (s->classes > 0) s->model.n_classes = s->classes;
    if ((l->cmd->bit & (FOR_COMPARE | FOR_INSPECT)) && !is_given(l, "index"))
        s->index = NULL; /* it depends on what is compared */
    if (!is_given(l, "decoder")) dt_config_for_input(&s->model);
    if (is_taught && !is_given(l, "teacher-share")) s->train.teacher_share = 0.5f;
    if (is_taught && !is_given(l, "teacher-sees"))
        s->train.teacher_sees = augments(&s->train) ? DT_TEACHER_AUGMENTED : DT_TEACHER_ORIGINALS;
    if (l->cmd->bit != FOR_TRAIN && !is_given(l, "dataset")) s->dataset = NULL; /* the checkpoint has its own */
}

/* The program ends: 0, or 1 if what it printed did not get out. */
static void end_of_help(const char *name)
{
    const dt_status status = flush_results();

    exit(status == DT_OK ? EXIT_GOOD : report_failure(name, status, 0));
}

/* argp puts a line of blanks behind an option's text that ends at the margin: those lines are left out. */
static void print_lines(const char *text)
{
    while (*text) {
        const size_t length = strcspn(text, "\n"), blanks = strspn(text, " ");

        if (length == 0 || blanks < length) printf("%.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

/* With the defaults of the model, recipe and dataset that the line has so far. */
static void show_help(const line *l, const struct argp_state *state, unsigned what)
{
    char *text = NULL;
    size_t bytes = 0;
    settings defaults;

    dt_status status = settings_default(&defaults);
    if (status == DT_OK) status = start_from_defaults(l, &defaults);
    if (status != DT_OK) argp_error(state, "%s", dt_last_error());
    settle(l, &defaults);
    build_argp_rows(l->cmd, &defaults);
    FILE *to = open_memstream(&text, &bytes);
    if (to) argp_state_help(state, to, what);
    if (to && fclose(to) == 0) print_lines(text);
    free(text);
    end_of_help(l->cmd->name);
}

/* Without the slashes that a shell completes folders with: joined with a file's name they would be two. */
static void trim_slashes(char *path)
{
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
}

/* The row of the subcommand's option, or -1. */
static int row_named(const command *cmd, const char *name)
{
    for (int i = 0; i < n_option_rows; i++) {
        if ((option_rows[i].commands & cmd->bit) && strcmp(option_rows[i].name, name) == 0) return i;
    }
    return -1;
}

/* The row of the option that a word without one stands for: the first of these that the line does not have; or -1. */
static int row_of_word(const line *l)
{
    static const char *const names[] = { "checkpoint", "with", "grid" };

    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        const int row = row_named(l->cmd, names[k]);
        if (row >= 0 && !l->given[row]) return row;
    }
    return -1;
}

static const char *words_help(const command *cmd)
{
    if (cmd->bit == FOR_REPORT) return "[RUN...]";
    if (row_named(cmd, "with") >= 0) return "[FILE [FILE]]";
    return row_named(cmd, "checkpoint") >= 0 || row_named(cmd, "grid") >= 0 ? "[FILE]" : NULL;
}

static void take_run(line *l, char *dir, const struct argp_state *state)
{
    if (l->scratch.n_runs == REPORT_RUNS_MOST)
        argp_error(state, "a page has up to %d runs; make several pages", REPORT_RUNS_MOST);
    trim_slashes(dir);
    l->scratch.run[l->scratch.n_runs++] = dir;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    line *l = state->input;

    if (key == '?' || key == 'h') show_help(l, state, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC);
    if (key == KEY_USAGE) show_help(l, state, ARGP_HELP_USAGE);
    if (key == 'V') {
        puts(argp_program_version);
        end_of_help(l->cmd->name);
    }
    if (key == ARGP_KEY_ARG && l->cmd->bit == FOR_REPORT) {
        take_run(l, arg, state);
        return 0;
    }
    if (key == ARGP_KEY_ARG && row_of_word(l) < 0)
        argp_error(state, "what is '%s'? Every value but a file follows its option", arg);
    if (key == ARGP_KEY_ARG) key = FIRST_KEY + row_of_word(l);
    if (key < FIRST_KEY || key >= FIRST_KEY + n_option_rows) return ARGP_ERR_UNKNOWN;

    const option_row *row = &option_rows[key - FIRST_KEY];
    if (arg && row->kind == KIND_TEXT) trim_slashes(arg);
    const dt_status status = row->of_network ? option_check(row, arg) : option_set(row, arg, &l->scratch);
    if (status != DT_OK) argp_error(state, "%s", dt_last_error());
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

/* Another run's options, of which the line changes some. */
static dt_status start_from_config(const line *l, settings *s)
{
    DT_CHECK(!l->scratch.recipe, DT_ERR_ARGUMENT,
             "--config %s has all options of a run, those of its recipe too; leave --recipe %s out", l->scratch.config,
             l->scratch.recipe);
    DT_TRY(run_read_config(l->scratch.config, &s->base));
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(s->base, "options");
    DT_CHECK(cJSON_IsObject(options), DT_ERR_FORMAT, "%s: no object 'options', as the config.json of a run has it",
             l->scratch.config);
    DT_TRY(settings_from_json(options, s));
    return apply_given(l, s);
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
    const struct argp argp = {
        .options = argp_rows, .parser = parse_option, .args_doc = words_help(cmd), .doc = cmd->about
    };

    DT_TRY(settings_default(s));
    if (cmd->bit == FOR_SEARCH) DT_TRY(dt_model_config_default("shallowcaps", &s->model)); /* it needs capsules */
    DT_TRY(suggest_options(cmd, argc, argv));
    build_argp_rows(cmd, s);
    l.cmd = cmd;
    l.scratch = *s;
    argp_parse(&argp, argc, argv, ARGP_NO_HELP, NULL, &l);
    s->argc = argc;
    s->argv = argv;

    if (cmd->bit == FOR_TRAIN && l.scratch.resume && l.scratch.out)
        DT_TRY(run_dir_read_config(l.scratch.out, &s->saved));
    if (s->saved) return start_from_saved(&l, s);
    if (l.scratch.config) return start_from_config(&l, s);
    DT_TRY(start_from_defaults(&l, s));
    DT_TRY(apply_given(&l, s));
    memcpy(s->run, l.scratch.run, sizeof s->run);
    s->n_runs = l.scratch.n_runs;
    settle(&l, s);
    return DT_OK;
}
