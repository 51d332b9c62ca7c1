/*
 * cli.h - what the subcommands of `detent` share: settings, exit codes, the run directory, progress, text for people.
 *
 * A subcommand is a row of main.c's table and one file with its run function. The program uses the library only
 * through include/detent/detent.h. Functions here report failures as the library does: dt_status, text in
 * dt_last_error().
 */
#ifndef DT_CLI_H
#define DT_CLI_H

#include <math.h>
#include <stdio.h>

#include "settings.h"

/* Exit codes. DT_ERR_ARGUMENT gives EXIT_BAD_USAGE, DT_ERR_INTERRUPTED gives EXIT_INTERRUPTED, and every other failure
 * EXIT_FAILED. */
enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_BAD_USAGE = 2, EXIT_MISMATCH = 3, EXIT_INTERRUPTED = 130 };

/* ---- bits of single layers (bits.c) ------------------------------------------------------------ */

typedef struct {
    dt_layer_bits *layer; /* [n]; owned, with their names */
    int n;
} layer_bits;

/* Reads the bits of --bits; without that option there are none. */
DT_MUST_CHECK dt_status layer_bits_read(const settings *s, layer_bits *out);
void layer_bits_free(layer_bits *b);
/* Returns 1 if --bits names a file. */
int bits_are_in_file(const settings *s);

/* ---- lists of patterns (patterns.c) ------------------------------------------------------------ */

typedef struct {
    char *text;  /* owned; the items point into it */
    char **item; /* [n]; owned */
    int n;
} pattern_list;

/* Splits "A,B,.."; text may be NULL. */
DT_MUST_CHECK dt_status pattern_list_read(const char *text, pattern_list *out);
void pattern_list_free(pattern_list *p);

/* ---- subcommands ------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int bit; /* FOR_TRAIN, ... */
    const char *brief;
    const char *about; /* the first paragraph of its --help */
    dt_status (*run)(const settings *s, int *exit_code);
} command;

/* DT_ERR_IO if what was printed could not be written. A full disk behind `detent eval > file` must not look like
 * success. */
DT_MUST_CHECK dt_status flush_results(void);

/* Sets s from the command line. First come the defaults or the values of the saved run, then those of model and recipe,
 * and then the options that are given. A wrong option, --help, --usage and --version end the program here. */
DT_MUST_CHECK dt_status options_parse(const command *cmd, int argc, char **argv, settings *s);

/* Refuses an option that the subcommand has not got, and says which was meant, or which subcommands have it. In
 * suggest.c. */
DT_MUST_CHECK dt_status suggest_options(const command *cmd, int argc, char **argv);
/* Returns 1 if other is nearer to word than *best, which it then sets, and near enough to have been meant. */
int suggest_is_nearer(const char *word, const char *other, int *best);
/* Writes the names of the subcommands of these FOR_ bits, with blanks between. In main.c. */
void command_names(int bits, char *out, size_t bytes);

enum { HELP_BYTES = 512 };

/* Writes an option's text in the help, "Bits of a weight (2..8 or float; default 4)", to out[HELP_BYTES]. */
void options_help(const option_row *row, const settings *defaults, char *out);

/* Prints a shell's script of completion: bash, zsh or fish. Returns 0 if there is none for that shell. In completion.c.
 */
int print_completion(const char *shell, const command *commands, int n);
/* Prints the manual page, for man. In manual.c. */
DT_MUST_CHECK dt_status print_manual(const command *commands, int n);

DT_MUST_CHECK dt_status train_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status eval_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status search_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status capture_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status predict_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status quantize_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status prune_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status factorize_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status report_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status compare_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status import_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status verify_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status export_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status inspect_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status data_run(const settings *s, int *exit_code);
/* Does `detent data --dataset`. In data_set.c. */
DT_MUST_CHECK dt_status data_describe(const settings *s);
DT_MUST_CHECK dt_status bench_comm_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status sweep_run(const settings *s, int *exit_code);
DT_MUST_CHECK dt_status recipes_run(const settings *s, int *exit_code);

/* ---- JSON that is whole (json_memory.c) --------------------------------------------------------- */

/* From now on it is known whether cJSON had memory for all that it was told. */
void json_memory_watch(void);
/* Returns 1 if it had not. */
int json_memory_lost(void);
/* Return the item's text, of several lines or of one, which cJSON_free frees; NULL if memory was short for any of it.
 */
char *json_text(const cJSON *item);
char *json_line(const cJSON *item);

/* Return the number of an item, and of a field of an object; NAN where there is none. */
static inline double json_number(const cJSON *item)
{
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}
static inline double json_field(const cJSON *object, const char *name)
{
    return json_number(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* ---- how the classes were told apart (class_report.c) ------------------------------------------- */

/* Returns the images of a class. */
int64_t class_images(const dt_class_report *r, int class);
/* Prints a line such as "top-5      99.31 %" if there are more than k classes. */
void print_top_k(const dt_class_report *r, int k);
/* Prints a line for each class: its images, its accuracy, and how many of its images were taken for each class. */
void print_confusion(const dt_class_report *r);
/* Print the metrics of a report, and those of each class, or of each label. */
void print_class_metrics(const dt_class_report *r);
void print_label_metrics(const dt_label_report *r);
/* Adds "metrics", "top_k", "classes" and "confusion" to the JSON object of an evaluation. */
void add_class_report(cJSON *to, const dt_class_report *r, int k);
/* Adds "metrics" and "labels". */
void add_label_report(cJSON *to, const dt_label_report *r);

/* ---- what subcommands open (session.c) --------------------------------------------------------- */

/* What a subcommand has opened. Members that it does not use are NULL. */
typedef struct {
    dt_context *ctx;
    dt_dataset *train_set, *val_set, *test_set;
    dt_model *model;
    dt_program *program;
    dt_trainer *trainer;
} session;

void session_close(session *o);
/* Calls use with a session that is empty, and closes it. */
DT_MUST_CHECK dt_status session_run(const settings *s, dt_status (*use)(const settings *s, session *o));
/* Calls use with the session's model, or with one that is made of its program. */
DT_MUST_CHECK dt_status session_use_model(const settings *s, const session *o,
                                          dt_status (*use)(const settings *s, dt_model *m));
/* Opens the device that the options choose. */
DT_MUST_CHECK dt_status session_open_context(const settings *s, session *o);
/* Opens a split of --dataset. The images get the height, width and channels of model, and are padded or resized as its
 * network wants. */
DT_MUST_CHECK dt_status session_open_dataset(const settings *s, const dt_model_info *model, dt_split split,
                                             dt_dataset **out);
/* Opens a split of the data set on which the network m was trained, or of --dataset. If --dataset names another one, a
 * line on stderr says so when the test images are opened, which every subcommand does once. */
DT_MUST_CHECK dt_status session_open_images(const settings *s, const dt_model *m, dt_split split, dt_dataset **out);
/* Returns the name of the data set that session_open_images opens, or "" if neither m nor --dataset names one. */
const char *session_dataset(const settings *s, const dt_model *m);
/* Prints the line that says that --dataset is not the data set on which the network was trained, if it is not. */
void session_note_dataset(const settings *s, const dt_data_origin *trained_on);
/* Makes the model that cfg describes, with the bits of --bits. */
DT_MUST_CHECK dt_status session_create_model(const settings *s, const dt_model_config *cfg, session *o);
/* Opens context and model of s->checkpoint, which is that of a run or of a quantized network. */
DT_MUST_CHECK dt_status session_open_checkpoint(const settings *s, session *o);
/* DT_ERR_UNSUPPORTED, with the file's name, if o->model is of a kind that has no integer program. */
DT_MUST_CHECK dt_status session_need_program(const settings *s, const session *o);
/* Sets *out to 1 if the checkpoint is a program, or a TensorFlow Lite file of integers. */
DT_MUST_CHECK dt_status session_holds_program(const settings *s, int *out);
/* Sets *out to 1 if what computes is a program: the checkpoint is one, or the options ask for one. */
DT_MUST_CHECK dt_status session_wants_program(const settings *s, int *out);
/* Splits "FILE" or "FILE:NAME" into path, of PATH_BYTES, and *name, which is NULL for the former. A name has no slash.
 */
void session_split_inputs(const char *inputs, char path[PATH_BYTES], const char **name);
/* Opens context and program of s->checkpoint, which is a program's file or a model's. For a model's, o->model is opened
 * too, and o->test_set if nothing tells the model's data set. With --multiplier-bits the program's thresholds are
 * replaced, and a line says what that changes, unless --json is given. */
DT_MUST_CHECK dt_status session_open_program(const settings *s, session *o);
/* Returns what computes once a subcommand has opened its engine: where a program was opened, that. */
const char *session_engine_word(const settings *s, const session *o);
/* Returns the profile of the program that was opened, or NULL if there is none. */
const char *session_profile(const session *o);
/* Returns both, for people, and the image's cast if it does not round: "program, litert-ref, truncate-i8". */
short_text session_engine(const settings *s, const session *o);
/* DT_ERR_ARGUMENT if o->model has no convolution on the grid of that name. The message lists those that it has; if all
 * is 1, it offers "all" too, which the caller handles. */
DT_MUST_CHECK dt_status session_find_layer(const session *o, const char *name, int all);

typedef struct {
    int64_t first, count;
} image_range;

/* Sets *out to the range of images that s->index names. DT_ERR_ARGUMENT: it is no range of n_images images. */
DT_MUST_CHECK dt_status session_range(const settings *s, int64_t n_images, image_range *out);
/* ---- images that a subcommand runs (images.c) --------------------------------------------------- */

typedef struct {
    dt_dataset *dataset;   /* owned; NULL: they are a file's */
    dt_quantization file;  /* its pixels or normalised; owned */
    const int32_t *labels; /* [n]; NULL: unknown */
    int32_t *bits;         /* owned; `labels` of images that have several; NULL: they are the dataset's */
    int64_t first, n;
    int n_classes;
    int is_binary; /* 1: the network says labels, and a class has the bit 1 << l of each label l that is said */
} chosen_images;

/* Opens the images of --inputs, or else test images of the data set on which m was trained, or of --dataset. --index
 * chooses among them; without it all of a file are taken, and the first `most` of a data set. */
DT_MUST_CHECK dt_status images_open(const settings *s, const dt_model *m, int64_t most, chosen_images *out);
void images_close(chosen_images *images);
/* Sets dataset, pixels or normalised, first and n of a prediction for network m to the images first .. first + n - 1,
 * counted within `images`. */
void images_give(const chosen_images *images, const dt_model *m, int64_t first, int64_t n, dt_prediction *to);

/* ---- what `detent inspect` shows ------------------------------------------------------------------ */

/* Does `detent inspect` for a capture's file. In inspect_capture.c. */
DT_MUST_CHECK dt_status inspect_capture(const settings *s);

/* Sums over the layers of a network, for one image. */
typedef struct {
    int64_t macs, bops;       /* products, and bit operations */
    int64_t w_values, w_bits; /* weights, and their bits */
    int64_t o_values;         /* outputs of layers */
} network_cost;

/* Sums what the layers cost. In inspect_cost.c. */
DT_MUST_CHECK dt_status network_cost_of(const dt_model *m, network_cost *out);
/* Does `detent inspect --cost`. */
DT_MUST_CHECK dt_status inspect_cost(const settings *s, const session *o);
/* Does `detent inspect --histograms`. In inspect_codes.c. */
DT_MUST_CHECK dt_status inspect_codes(const settings *s, const session *o);
/* A picture of 8-bit pixels, [height][width][channels] with 1 or 3 channels. */
typedef struct {
    uint8_t *pixels; /* owned; free releases it */
    int height, width, channels;
} picture;

/* Draws images of pixels and what the decoder makes of their capsules, and under them the first capsule with each of
 * its values moved. In reconstruct.c. */
DT_MUST_CHECK dt_status reconstruction_draw(dt_model *m, const dt_dataset *d, const image_range *range, picture *out);
/* Does `detent capture --reconstruct`, which writes a picture to s->out. */
DT_MUST_CHECK dt_status reconstruct(const settings *s, session *o);
/* Returns the stream for a line about the file `out`: stderr if `out` is stdout itself, as /dev/stdout is; else stdout.
 * out may be NULL. */
FILE *report_stream(const char *out);
/* DT_ERR_ARGUMENT if value, that of an option that the subcommand needs, is NULL. */
DT_MUST_CHECK dt_status need_option(const char *name, const char *value);

/* ---- several ranks (ranks.c, launch.c) --------------------------------------------------------- */

enum { SECRET_BYTES = 65 };

/* This process as one of several ranks, as its launcher says. */
typedef struct {
    int rank, size;             /* 0 of 1: it is alone */
    int local_rank, local_size; /* on this host; local_size is 0 where nobody says */
    int own_cores;              /* that it keeps to, no other rank does; 0: it runs where the others do */
    const char *door;           /* who says so: "torchrun", "Slurm", ...; NULL: it is alone */
    char address[256];          /* of rank 0 */
    int port;
    int listener;       /* of rank 0, from launch_ranks; -1: none */
    const char *secret; /* NULL: a file in the run directory has it */
    char own_secret[SECRET_BYTES];
} rank_place;

/* Finds out from the options and the environment. DT_ERR_ARGUMENT: they contradict each other or leave something out.
 */
DT_MUST_CHECK dt_status find_rank(const settings *s, rank_place *out);
/* Starts s->ranks processes, each on cores of its own where there are enough. In each of them it returns with *place
 * set, and *is_parent is 0. In this one it returns when all have ended, with *is_parent 1 and their exit code: that of
 * the first that failed. If one fails it ends the others. */
DT_MUST_CHECK dt_status launch_ranks(const settings *s, rank_place *place, int *is_parent, int *exit_code);
/* Meets the other ranks. dir is the run directory, in which ranks without a secret leave one; NULL: there is none. *out
 * is NULL if this process is alone. */
DT_MUST_CHECK dt_status meet_ranks(const settings *s, const rank_place *place, const char *dir, dt_dist **out);
/* Returns s->threads, or where that is 0 and nobody says how many, this rank's share of the host's cores. */
int threads_of_rank(const settings *s, const rank_place *place);
/* Returns the GPU of this rank: s->gpu, or where several are on a host, one for each from there on. */
int gpu_of_rank(const settings *s, const rank_place *place);
/* What a rank does with the status at its end: says its rank and host with a failure of its own, is silent about what
 * another rank has said, and leaves the others. Returns DT_OK where *exit_code has the answer. */
DT_MUST_CHECK dt_status leave_ranks(dt_dist *dist, dt_status status, int *exit_code);

/* ---- the run directory (run_dir.c) ------------------------------------------------------------- */

/* Writes dir/name to text, which has PATH_BYTES. DT_ERR_ARGUMENT: it is too long. */
DT_MUST_CHECK dt_status run_dir_path(const char *dir, const char *name, char *text);
/* Returns 1 if dir has a file of that name. */
int run_dir_has(const char *dir, const char *name);
/* DT_ERR_ARGUMENT if dir has a run in it, unless force is 1. */
DT_MUST_CHECK dt_status run_dir_refuse(const char *dir, int force);
/* Locks dir for this process. It fails if another process holds the lock at each of so many tries, 0.1 s apart. Closing
 * *fd or ending the process releases it. */
DT_MUST_CHECK dt_status run_dir_lock(const char *dir, int tries, int *fd);
/* Removes files that a killed process left half written. If everything is 1, it removes the run too, for good: no part
 * of it comes back beside the next run when the power goes. */
DT_MUST_CHECK dt_status run_dir_sweep(const char *dir, int everything);
/* Reads config.json of dir. *out is NULL if there is none; the caller deletes it. */
DT_MUST_CHECK dt_status run_dir_read_config(const char *dir, cJSON **out);
/* Reads such a file, wherever it is. The caller deletes *out. */
DT_MUST_CHECK dt_status run_read_config(const char *path, cJSON **out);
/* Writes config.json of dir. It never leaves half a file. */
DT_MUST_CHECK dt_status run_dir_write_config(const char *dir, const cJSON *config);
/* Writes all of the content, waits until it is on the disk, and returns 0; or returns -1 with errno set. */
DT_MUST_CHECK int write_synced(int fd, const char *content, size_t bytes);
/* Reads a file as a text that the caller frees. *out is NULL if there is no such file. */
DT_MUST_CHECK dt_status read_file(const char *path, char **out, size_t *bytes);
/* Reads a JSON file; `advice` ends the message where it is none. *out is NULL if there is no such file; the caller
 * deletes it. */
DT_MUST_CHECK dt_status json_file_read(const char *path, const char *advice, cJSON **out);

/* ---- metrics.jsonl in the run directory (metrics_file.c) --------------------------------------- */

/* The line of an epoch. A NaN is written as null: there was no evaluation in this epoch, or no step in this process. */
typedef struct {
    int epoch;    /* epochs completed, so that the first line has 1 */
    int64_t step; /* steps completed since the run began */
    double lr;
    double train_loss, train_accuracy;
    double train_reconstruction; /* mean of an image's sum of squared errors, before its scale; NaN without a decoder */
    const char *split;           /* on which the next two were measured: "test", or "val" for the images held out */
    double eval_loss, eval_accuracy;
    double images_per_s, seconds; /* of this epoch's steps, in the process that ended it */
    const cJSON *clips;           /* metrics_clips; NULL: left out */
} epoch_line;

/* Means over some batches. NaN: there is no such number. */
typedef struct {
    double batch_s, data_s; /* seconds of one batch; the part of them in which the host prepared it */
    double loss, margin, reconstruction, accuracy;
} batch_values;

/* A line of --log-every. */
typedef struct {
    const char *event; /* "step"; the split of an evaluation */
    int epoch;         /* of the batch, counted from 1 */
    int64_t step;      /* steps completed since the run began */
    int64_t batch, batches;
    batch_values recent, mean; /* over the last --log-every batches; since the epoch or the evaluation began */
} batch_line;

/* The last line of a run with images held out: what the network that they have chosen reaches on the test set. */
typedef struct {
    int best_epoch;
    double test_loss, test_accuracy;
} end_line;

/* Makes an object of the clips of a model that are trained, by the names of their parameters: a number, of several
 * filters their mean, and of a range both ends. *out is NULL if there are none; the caller deletes it. */
DT_MUST_CHECK dt_status metrics_clips(const dt_model *m, cJSON **out);
/* Appends the line of an epoch. It is on the disk when this returns; if this fails, the file is as before. */
DT_MUST_CHECK dt_status metrics_append_epoch(const char *dir, const epoch_line *line);
/* Appends a line of --log-every, in the same way. */
DT_MUST_CHECK dt_status metrics_append_batch(const char *dir, const batch_line *line);
/* Appends the last line of a run, in the same way. */
DT_MUST_CHECK dt_status metrics_append_end(const char *dir, const end_line *line);

/* How far an unfinished run has come. */
typedef struct {
    int epochs; /* that have ended */
    int64_t step;
    const char *split; /* on which its epochs are evaluated */
} metrics_kept;

/* Keeps the lines that such a run had written up to that point, and cuts the rest, also a line that is incomplete. */
DT_MUST_CHECK dt_status metrics_cut(const char *dir, const metrics_kept *k);

/* ---- progress on stderr (progress.c) ----------------------------------------------------------- */

typedef struct {
    int terminal; /* 1: one line, drawn anew ten times a second; 0: a plain line every 30 s */
    int quiet;
    int drawn;   /* 1: there is a line that must be wiped */
    double next; /* the clock_seconds() at which progress is shown next */
} progress;

/* What is shown. A NaN is left out. */
typedef struct {
    const char *what; /* such as "epoch 3/300", "evaluating" */
    int64_t done, total;
    double images_per_s, peak_share; /* of what the device can do at most, 0..1 */
    double loss, margin, accuracy;   /* margin: the loss without the decoder's part */
    double seconds_left;
} progress_view;

/* Returns a time in seconds, from a clock that never goes back. */
double clock_seconds(void);
/* Starts showing progress, unless quiet is 1. */
void progress_begin(progress *p, int quiet);
/* Returns 1 if it is time to show progress again. */
int progress_due(const progress *p);
void progress_show(progress *p, const progress_view *view);
/* Shows a count alone; a rate or a time that is not known is NAN. */
void progress_count(progress *p, const char *what, int64_t done, int64_t total, double images_per_s,
                    double seconds_left);
/* Wipes the line. Call it before anything else is printed. */
void progress_wipe(progress *p);

/* An evaluation or another loop over images, for progress_tick. */
typedef struct {
    progress *bar;
    const char *what;
    double begin; /* clock_seconds() at its begin */
} progress_task;

/* Is dt_progress.tick, with a progress_task as its user. It shows progress, and returns 1 after Ctrl-C. */
int progress_tick(void *task, int64_t done, int64_t total);

/* ---- interruption (interrupt.c) ---------------------------------------------------------------- */

/* Handles SIGINT, SIGTERM, SIGHUP (unless it is ignored), SIGUSR1 and SIGXCPU. The first of them sets a flag. One that
 * comes at least two seconds later ends the process. */
void interrupt_install(void);
/* Handles SIGPIPE too, for a subcommand that has something to save when nobody reads its output any more. */
void interrupt_on_closed_output(void);
/* Returns 1 if the flag is set. */
int interrupt_requested(void);

/* ---- text for people (text.c) ------------------------------------------------------------------ */

short_text text_count(int64_t n);                    /* "8,936,682" */
short_text text_float(float value);                  /* the fewest digits that read back as value, such as "0.01" */
short_text text_double(double value);                /* the same for a double */
short_text text_seconds(double seconds);             /* "1:02:10", "0:12" */
short_text text_bytes(size_t bytes);                 /* "312 MiB"; below 1 MiB "640 KiB" */
short_text text_shape(const int64_t *dim, int ndim); /* "512x3x3x512"; "1" if ndim is 0 */
/* Returns "8x8x64", or "32x4x4x8" if an image has several maps. */
short_text text_size(int maps, int height, int width, int channels);

typedef struct {
    char s[DT_MODEL_TEXT_BYTES];
} network_text;

/* Returns what dt_model_describe says, or such as "shallowcaps in fixed point, round_to_nearest". */
network_text text_network(const dt_model *m);

/* Prints a line with dt_context_fallback, unless that is "". */
void print_fallback(const dt_context *ctx);
/* Adds dt_context_fallback to a JSON object, unless that is "". */
void add_fallback(cJSON *object, const dt_context *ctx);
/* Prints "detent train: message", with the trace if verbose is 1, and returns the exit code. */
int report_failure(const char *command_name, dt_status status, int verbose);
/* Makes a JSON object of a report. The caller deletes it. */
cJSON *array_report_json(const dt_array_report *r);
/* Prints an object and a newline, and deletes the object. If it is NULL, this returns DT_ERR_MEMORY. */
DT_MUST_CHECK dt_status print_json(cJSON *object);

#endif /* DT_CLI_H */
