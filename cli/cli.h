/*
 * cli.h - what the subcommands of `detent` share: settings, exit codes, the run directory, progress, text for people.
 *
 * A subcommand is a row of main.c's table and one file with its run function. The program uses the library only
 * through include/detent/detent.h. Functions here report failures as the library does: dt_status, text in
 * dt_last_error().
 */
#ifndef DT_CLI_H
#define DT_CLI_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "detent/detent.h"

/* Exit codes. From dt_status: ERR_ARGUMENT is bad usage, ERR_INTERRUPTED is interrupted, the others have failed. */
enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_BAD_USAGE = 2, EXIT_MISMATCH = 3, EXIT_INTERRUPTED = 130 };

enum { PATH_BYTES = 4096, VALUE_BYTES = 64 };

/* ---- settings: the value of every option (settings.c) ------------------------------------------ */

/* Which subcommands take an option. */
enum {
    FOR_TRAIN = 1,
    FOR_EVAL = 2,
    FOR_CAPTURE = 4,
    FOR_INSPECT = 8,
    FOR_DATA = 16,
    FOR_VERIFY = 32,
    FOR_EXPORT = 64,
    FOR_SEARCH = 128,
    FOR_PREDICT = 256
};

/* Texts point into argv, or into `saved`. */
typedef struct {
    dt_model_config model;
    dt_train_config train;
    const char *recipe;            /* NULL: none */
    const char *dataset;           /* NULL: the one that the checkpoint's network was trained on */
    const char *data_dir;          /* NULL: the dataset's own folders */
    int64_t train_size, test_size; /* images; 0: all */
    int64_t val_size;              /* training images held out; 0: none */
    int classes;                   /* of the network; 0: as many as the dataset has */
    int test_batch;                /* images evaluated at once; 0: train.batch */
    float stop_at;                 /* per cent of accuracy; 0: none */
    int patience;                  /* epochs; 0: no end */

    int device; /* index into device_words */
    int gpu;
    int threads;
    int precision; /* dt_precision */
    uint64_t seed;
    int no_graph;

    const char *out;  /* run directory, or the file of capture */
    const char *init; /* checkpoint to take parameters from, NULL: none */
    int resume, force;
    int64_t save_every;           /* steps; 0: at the end of each epoch only */
    int eval_every, report_every; /* epochs; report_every 0: at the end of the run only */
    int64_t log_every;            /* batches; 0: no lines of them */

    const char *checkpoint;
    const char *layer;
    const char *inputs; /* "FILE" or "FILE:NAME" */
    const char *index;  /* "A:B", or "A" for one image */
    int64_t images;
    int engine;          /* engine_kind */
    int target;          /* export_kind */
    int layout;          /* dt_layout */
    int header_lines;    /* of dt_vector_style */
    int multiplier_bits; /* 0: exact thresholds */
    int reconstruct;
    const char *vectors; /* folder to check */
    const char *name;    /* of the C functions */
    dt_array array;
    int top_k;
    int confusion;
    int graph, dot;
    const char *bits; /* NULL: none */

    int method;  /* of the search: index into method_words */
    int tune_on; /* tune_kind */
    int plan;
    dt_qcaps_options qcaps; /* but for cache_bytes */
    int64_t cache_mib;
    int64_t tune_size; /* validation images that decide */

    int json, quiet, verbose;

    int argc; /* the command line, for config.json */
    char **argv;
    cJSON *saved; /* config.json of the run to go on with, owned; NULL: a new run */
} settings;

typedef enum { ENGINE_GRID, ENGINE_PROGRAM, ENGINE_ARRAY } engine_kind;
typedef enum { EXPORT_PROGRAM, EXPORT_VECTORS, EXPORT_C, EXPORT_FIXED_POINT } export_kind;
typedef enum { TUNE_ON_VALIDATION, TUNE_ON_TEST } tune_kind;

typedef enum {
    KIND_INT,
    KIND_INT64,
    KIND_SEED, /* uint64_t, below 2^53, so that JSON readers keep every digit */
    KIND_FLOAT,
    KIND_PAIR,  /* int[2], as "A,B" */
    KIND_SHAPE, /* int[3], as "HxWxC" */
    KIND_WORD,  /* int, index into words */
    KIND_TEXT,  /* const char * */
    KIND_FLAG   /* int, set to flag_value; takes no argument */
} option_kind;

/* SAVED goes to config.json and comes back on --resume; FIXED also may not change then. */
typedef enum { FORGOTTEN, SAVED, FIXED } option_memory;

typedef struct {
    const char *name; /* without the dashes */
    option_kind kind;
    size_t offset; /* of its field in settings */
    int commands;
    int group; /* of the help */
    option_memory memory;
    const char *unit; /* shown as the argument */
    double min, max;
    const char *const *words; /* WORD: NULL-terminated, in the order of the enum */
    const char *special;      /* a word that stands for special_value, which may be outside min..max; or NULL */
    int special_value;
    int flag_value;
    const char *about;
} option_row;

extern const option_row option_rows[];
extern const int n_option_rows;
extern const char *const device_words[], *const engine_words[], *const export_words[];
extern const char *const method_words[], *const tune_words[], *const compat_words[];

DT_MUST_CHECK dt_status settings_default(settings *out);
void settings_free(settings *s);

/* Checks the range; the error names option, value and range. text is kept for TEXT, and ignored for FLAG. */
DT_MUST_CHECK dt_status option_set(const option_row *row, const char *text, settings *s);
/* What option_set would read back; "" for a TEXT that is NULL; "0" or "1" for a FLAG. */
void option_format(const option_row *row, const settings *s, char *text, size_t bytes);
/* "2..8 or float"; "" where there is no range to tell. */
void option_range(const option_row *row, char *text, size_t bytes);

/* The SAVED and FIXED options as a JSON object, and back. */
DT_MUST_CHECK dt_status settings_to_json(const settings *s, cJSON **out);
DT_MUST_CHECK dt_status settings_from_json(const cJSON *options, settings *s);

/* ---- bits of single layers (bits.c) ------------------------------------------------------------ */

typedef struct {
    dt_layer_bits *layer; /* owned, names too */
    int n;
} layer_bits;

/* --bits; nothing without it. */
DT_MUST_CHECK dt_status layer_bits_read(const settings *s, layer_bits *out);
void layer_bits_free(layer_bits *b);
int bits_are_in_file(const settings *s);

/* ---- subcommands ------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int bit; /* FOR_TRAIN, ... */
    const char *brief;
    const char *about; /* first paragraph of its --help */
    dt_status (*run)(const settings *s, int *exit_code);
} command;

/* A full disk behind `detent eval > file` must not look like success: DT_ERR_IO if what was printed did not get out. */
DT_MUST_CHECK dt_status flush_results(void);

/* Fills s from the command line: defaults or the saved run, then model and recipe, then the options given. A wrong
 * option, --help, --usage and --version end the program here. */
DT_MUST_CHECK dt_status options_parse(const command *cmd, int argc, char **argv, settings *s);

/* `detent completion` (completion.c): a script for bash. */
void print_completion(const command *commands, int n);

DT_MUST_CHECK dt_status train_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status eval_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status search_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status capture_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status predict_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status verify_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status export_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status inspect_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status data_run(const settings *s, int *exit_code);

/* ---- how the classes were told apart (class_report.c) ------------------------------------------- */

/* "top-5      99.31 %", where there are more than k classes. */
void print_top_k(const dt_class_report *r, int k);
/* A line a class: images, accuracy, and how many of them were taken for each class. */
void print_confusion(const dt_class_report *r);
/* Adds "top_k", "classes" and "confusion" to an evaluation. */
void add_class_report(cJSON *to, const dt_class_report *r, int k);

/* ---- what subcommands open (session.c) --------------------------------------------------------- */

/* Unused members stay NULL. */
typedef struct {
    dt_context *ctx;
    dt_dataset *train_set, *val_set, *test_set;
    dt_model *model;
    dt_program *program;
    dt_trainer *trainer;
} session;

void session_close(session *o);
DT_MUST_CHECK dt_status session_open_context(const settings *s, session *o);
/* Images get the height and width of model, padded or resized as its network wants it, and its channels. */
DT_MUST_CHECK dt_status session_open_dataset(const settings *s, const dt_model_info *model, dt_split split,
                                             dt_dataset **out);
/* Of a network from a file: what it was trained on, unless --dataset names another; a line on stderr then says so when
 * the test images are opened, which every subcommand does once. */
DT_MUST_CHECK dt_status session_open_images(const settings *s, const dt_model *m, dt_split split, dt_dataset **out);
const char *session_dataset(const settings *s, const dt_model *m); /* its name; "" where nothing tells */
/* That line, if it is due. */
void session_note_dataset(const settings *s, const dt_data_origin *trained_on);
/* The model that cfg describes, with --bits. */
DT_MUST_CHECK dt_status session_create_model(const settings *s, const dt_model_config *cfg, session *o);
/* Context and model of s->checkpoint, a run's or a quantized network's. */
DT_MUST_CHECK dt_status session_open_checkpoint(const settings *s, session *o);
/* Refuses, naming the file, a model of a kind that has no integer program. */
DT_MUST_CHECK dt_status session_need_program(const settings *s, const session *o);
/* Context and program of s->checkpoint, which is a program's file, or a model's: then o->model is open too, and where
 * nothing tells its data set, o->test_set. With --multiplier-bits its thresholds are replaced and, unless --json,
 * a line says what that changes. */
DT_MUST_CHECK dt_status session_open_program(const settings *s, session *o);
/* A layer of o->model, or an error that lists them; all: whether "all" is one. */
DT_MUST_CHECK dt_status session_find_layer(const session *o, const char *name, int all);

typedef struct {
    int64_t first, count;
} image_range;

/* s->index among n_images. */
DT_MUST_CHECK dt_status session_range(const settings *s, int64_t n_images, image_range *out);
/* `detent inspect` of a capture's file (inspect_capture.c). */
DT_MUST_CHECK dt_status inspect_capture(const settings *s);
/* `detent capture --reconstruct` (reconstruct.c): the picture goes to s->out. */
DT_MUST_CHECK dt_status reconstruct(const settings *s, session *o);
/* Where a line about the file `out` goes: stdout, or stderr where `out` is stdout itself, as /dev/stdout is. NULL:
 * stdout. */
FILE *report_stream(const char *out);
/* DT_ERR_ARGUMENT if an option that the subcommand cannot do without is missing. */
DT_MUST_CHECK dt_status need_option(const char *name, const char *value);

/* ---- the run directory (run_dir.c) ------------------------------------------------------------- */

/* text, of PATH_BYTES bytes, becomes dir/name. */
DT_MUST_CHECK dt_status run_dir_path(const char *dir, const char *name, char *text);
int run_dir_has(const char *dir, const char *name);
/* DT_ERR_ARGUMENT if dir has a run in it, unless force. */
DT_MUST_CHECK dt_status run_dir_refuse(const char *dir, int force);
/* Makes dir and its parents. */
DT_MUST_CHECK dt_status run_dir_create(const char *dir);
/* Refused while another process holds it. Closing fd, or dying, gives it back. */
DT_MUST_CHECK dt_status run_dir_lock(const char *dir, int *fd);
/* Removes what a killed process left half written, and with `everything` the run itself. */
DT_MUST_CHECK dt_status run_dir_sweep(const char *dir, int everything);
/* NULL if dir has no config.json. */
DT_MUST_CHECK dt_status run_dir_read_config(const char *dir, cJSON **out);
/* Never leaves half a file. */
DT_MUST_CHECK dt_status run_dir_write_config(const char *dir, const cJSON *config);
/* Writes all of it and waits until it is on the disk; -1 and errno if that failed. */
DT_MUST_CHECK int write_synced(int fd, const char *content, size_t bytes);
/* The file as a text, malloced; NULL where there is no such file. */
DT_MUST_CHECK dt_status read_file(const char *path, char **out, size_t *bytes);

/* ---- metrics.jsonl in the run directory (metrics_file.c) --------------------------------------- */

/* The line of an epoch. NaN is written as null: no evaluation in this epoch, no step in this process. */
typedef struct {
    int epoch;    /* completed, so the first line has 1 */
    int64_t step; /* completed since the run began */
    double lr;
    double train_loss, train_accuracy;
    double train_reconstruction; /* squared error summed over an image, before its scale; NaN without a decoder */
    const char *split;           /* what the next two are of: "test", or "val" for the images held out */
    double eval_loss, eval_accuracy;
    double images_per_s, seconds; /* of this epoch's steps, in the process that ended it */
} epoch_line;

/* Means over some batches. NaN: there is no such number. */
typedef struct {
    double batch_s, data_s; /* seconds of one batch, and of them what the host took to prepare it */
    double loss, margin, reconstruction, accuracy;
} batch_values;

/* A line of --log-every. */
typedef struct {
    const char *event; /* "step", or of an evaluation its split */
    int epoch;         /* that the batch belongs to, the first is 1 */
    int64_t step;      /* completed since the run began */
    int64_t batch, batches;
    batch_values recent, mean; /* over the last --log-every batches, and since the epoch or the evaluation began */
} batch_line;

/* What best.safetensors reaches on the test set, where the images held out have chosen it. */
typedef struct {
    int best_epoch;
    double test_loss, test_accuracy;
} end_line;

/* A line is on the disk when these return; on failure the file is as before. */
DT_MUST_CHECK dt_status metrics_append_epoch(const char *dir, const epoch_line *line);
DT_MUST_CHECK dt_status metrics_append_batch(const char *dir, const batch_line *line);
DT_MUST_CHECK dt_status metrics_append_end(const char *dir, const end_line *line);

/* What an unfinished run has done. */
typedef struct {
    int epochs; /* that have ended */
    int64_t step;
    const char *split; /* which its epochs are evaluated on */
} metrics_kept;

/* Keeps what such a run had written by then, and cuts the rest, a line that was not written to its end included. */
DT_MUST_CHECK dt_status metrics_cut(const char *dir, const metrics_kept *k);

/* ---- progress on stderr (progress.c) ----------------------------------------------------------- */

typedef struct {
    int terminal; /* a line redrawn ten times a second; else a plain line every 30 s */
    int quiet;
    int drawn;   /* the cursor stands behind a line to be wiped */
    double next; /* clock_seconds() at which to show again */
} progress;

/* NaN: not shown. */
typedef struct {
    const char *what; /* "epoch 3/300", "evaluating" */
    int64_t done, total;
    double images_per_s, loss, margin, accuracy; /* margin: the part of the loss that the decoder has not */
    double seconds_left;
} progress_view;

double clock_seconds(void); /* monotonic */
void progress_begin(progress *p, int quiet);
int progress_due(const progress *p);
void progress_show(progress *p, const progress_view *view);
void progress_wipe(progress *p); /* before anything else is printed */

/* An evaluation or a loop over images: shows progress, and stops it on Ctrl-C. Is the user of progress_tick. */
typedef struct {
    progress *bar;
    const char *what;
    double begin;
} progress_task;

int progress_tick(void *task, int64_t done, int64_t total);

/* ---- interruption (interrupt.c) ---------------------------------------------------------------- */

/* SIGINT, SIGTERM, SIGHUP (unless ignored), SIGUSR1 and SIGXCPU: the first sets the flag, one that comes two seconds
 * later or more ends the process. */
void interrupt_install(void);
/* SIGPIPE too, for a subcommand that has something to save when nobody reads its output any more. */
void interrupt_on_closed_output(void);
int interrupt_requested(void);

/* ---- text for people (text.c) ------------------------------------------------------------------ */

typedef struct {
    char s[VALUE_BYTES];
} short_text;

short_text text_count(int64_t n);   /* 8,936,682 */
short_text text_float(float value); /* the fewest digits that read back as value: 0.01 */
short_text text_double(double value);
short_text text_seconds(double seconds); /* 1:02:10, 0:12 */
short_text text_bytes(size_t bytes);     /* 312 MiB */
/* 8x8x64; 32x4x4x8 where an image has several maps */
short_text text_size(int maps, int height, int width, int channels);

typedef struct {
    char s[DT_MODEL_TEXT_BYTES];
} network_text;

/* As dt_model_describe, or "shallowcaps in fixed point, round_to_nearest". */
network_text text_network(const dt_model *m);

/* Why "auto" took the CPU although there is a GPU: a line below "device", a field; nothing where there is no reason. */
void print_fallback(const dt_context *ctx);
void add_fallback(cJSON *object, const dt_context *ctx);
/* Prints "detent train: message" (with the trace if verbose) and returns the exit code. */
int report_failure(const char *command_name, dt_status status, int verbose);
/* The fields of a report, for JSON. */
cJSON *array_report_json(const dt_array_report *r);
/* Prints the object and a newline, and deletes it; NULL is DT_ERR_MEMORY. */
DT_MUST_CHECK dt_status print_json(cJSON *object);

#endif /* DT_CLI_H */
