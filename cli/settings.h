/*
 * settings.h - the value of every option, and the table of options. settings.c has the table, settings_default.c what
 *              options are without a command line, option_values.c texts to values and back.
 */
#ifndef DT_CLI_SETTINGS_H
#define DT_CLI_SETTINGS_H

#include <cjson/cJSON.h>

#include "detent/detent.h"

enum { PATH_BYTES = 4096, VALUE_BYTES = 64, REPORT_RUNS_MOST = 24 };

typedef struct {
    char s[VALUE_BYTES];
} short_text;

/* Bits that say which subcommands take an option. */
enum {
    FOR_TRAIN = 1,
    FOR_EVAL = 2,
    FOR_CAPTURE = 4,
    FOR_INSPECT = 8,
    FOR_DATA = 16,
    FOR_VERIFY = 32,
    FOR_EXPORT = 64,
    FOR_SEARCH = 128,
    FOR_PREDICT = 256,
    FOR_QUANTIZE = 512,
    FOR_COMPARE = 1024,
    FOR_IMPORT = 2048,
    FOR_BENCH_COMM = 4096,
    FOR_PRUNE = 8192,
    FOR_FACTORIZE = 16384,
    FOR_REPORT = 32768,
    FOR_SWEEP = 65536,
    FOR_RECIPES = 131072
};

/* The values of all options. Texts point into argv, `saved` or `base`. */
typedef struct {
    dt_model_config model;
    dt_train_config train;
    const char *recipe;            /* NULL: none */
    const char *config;            /* file of options to start from; NULL: none */
    const char *dataset;           /* NULL: the one on which the checkpoint's network was trained */
    const char *data_dir;          /* NULL: the data set's default folders */
    int64_t train_size, test_size; /* images; 0: all */
    int64_t val_size;              /* training images that are held out; 0: none */
    int classes;                   /* of the network; 0: as many as the data set has */
    int test_batch;                /* images of a batch in evaluation; 0: train.batch */
    float stop_at;                 /* accuracy in % at which training stops; 0: it does not */
    int patience;                  /* epochs without a better accuracy after which training stops; 0: it does not */

    int device; /* index into device_words */
    int gpu;
    int threads;
    int ranks;               /* started here; 1: none but this process */
    int timeout;             /* seconds in which ranks meet, and in which the failure of one ends all */
    const char *master_addr; /* of rank 0; NULL: as the launcher says */
    int master_port;         /* 0: as the launcher says */
    int precision;           /* dt_precision */
    uint64_t seed;
    int no_graph;

    const char *out;  /* run directory, or the file that is written */
    const char *init; /* checkpoint from which parameters are taken; NULL: none */
    int resume, force;
    const char *stages;           /* "BITS:EPOCHS[:DECAY[:LR]],.."; NULL: one run */
    int repeat;                   /* runs, of seeds that follow each other */
    const char *plan_out;         /* of a run that is a part of a plan: the plan's directory; else NULL */
    int whiten;                   /* 1: the first layer begins by whitening the images */
    const char *teacher;          /* checkpoint whose scores teach; NULL: none */
    int stages_teach;             /* 1: the network of each stage teaches the next one */
    int64_t save_every;           /* steps; 0: saved at the end of each epoch alone */
    int eval_every, report_every; /* epochs; report_every 0: reported at the end of the run alone */
    int tensorboard;              /* 1: files of events for TensorBoard */
    int64_t log_every;            /* batches between two lines of metrics.jsonl; 0: none */

    const char *checkpoint;
    const char *layer;
    const char *inputs; /* "FILE" or "FILE:NAME" */
    const char *index;  /* "A:B", or "A" for one image; NULL: as the subcommand says */
    const char *with;   /* the network that checkpoint's is compared with; NULL: none */
    int layers, profiles, scores;
    int64_t images;
    int engine;            /* engine_kind */
    int target;            /* export_kind */
    int io;                /* dt_tflite_io; -1: what fits the network */
    int opset;             /* of an ONNX file */
    int style;             /* of an ONNX file, a dt_onnx_style or STYLE_FLOAT; -1: what the network has */
    int layout;            /* dt_layout */
    int header_lines;      /* dt_vector_style.header_lines */
    int multiplier_bits;   /* 0: exact thresholds */
    int io_cast;           /* dt_image_cast */
    int profile;           /* dt_profile; -1: the program's own */
    const char *calibrate; /* "FILE" or "FILE:NAME"; NULL: images of the dataset */
    dt_quantization quantize;
    const char *passes; /* "PASS,.." of dt_rescue_names; NULL: none */
    int rescue;         /* 1: all passes, of which those stay that help */
    int64_t held_out;   /* images that judge them */
    int rounding_steps; /* dt_rescue.rounding_steps */
    dt_extraction extraction;
    int64_t calibrate_images;
    dt_pruning prune;     /* all but whole, n_whole and its groups */
    int group[2];         /* prune.group_keep and group_of */
    const char *whole;    /* "PATTERN,.." of layers; NULL: none */
    const char *ranks_of; /* "LAYER:RANKS,.." of factorize; NULL: none */
    int reconstruct;
    const char *vectors; /* folder of vectors that is checked */
    const char *name;    /* of the C functions that are exported */
    dt_array array;
    int top_k;
    int confusion, metrics;
    int graph, dot, cost, histograms;
    int tensors, debug_quant, sensitivity; /* what `inspect` shows instead */
    int debug_mode;                        /* dt_debug_mode */
    const char *diff;                      /* the file with whose tensors checkpoint's are compared; NULL: none */
    const char *compare;                   /* "A,B,.." networks that are compared layer by layer; NULL: none */
    const char *csv, *html;                /* files to write beside; NULL: none */
    const char *bits;                      /* NULL: none */

    const char *run[REPORT_RUNS_MOST]; /* of `report`: directories of runs */
    int n_runs;
    int64_t report_size;                     /* test images; 0: all, -1: as many as the run has */
    int study, study_quick, study_jobs;      /* of `report`; study_jobs: commands at once */
    const char *study_windows, *study_beats; /* data sets of SmartWatch, and of the others */
    const char *study_models;                /* folder of the networks' files */

    int method;  /* of the search; index into method_words */
    int tune_on; /* tune_kind */
    int plan;
    dt_qcaps_options qcaps; /* all but cache_bytes, which cache_mib sets */
    int64_t cache_mib;
    int64_t tune_size; /* validation images by which the search decides */

    const char *space; /* the file of a mixed-precision search; NULL: none */
    int tuner;         /* index into tuner_words */
    int max_trials;
    int trial_epochs;
    int trial_patience;  /* epochs without a new best after which a trial ends; -1: a fifth of its epochs, at most 20 */
    int search_patience; /* trials without a new best after which the search ends; 0: it does not */
    float bops_share;    /* of the first bit operations, at which the gradient mode ends */
    int uniform;         /* 1: trials begin with networks of one number of bits */

    const char *grid; /* the file of a sweep; NULL: none */
    int jobs, gpus;   /* of a sweep: runs at once; GPUs that they share, -1: all of this machine's */
    int sweep_index;  /* the one run to make; -1: all */

    int json, quiet, verbose;

    int argc; /* this and argv are the command line, for config.json */
    char **argv;
    cJSON *saved; /* owned; config.json of the run that goes on; NULL: it is a new run */
    cJSON *base;  /* owned; what the file `config` holds; NULL: there is none */
} settings;

typedef enum { ENGINE_GRID, ENGINE_PROGRAM, ENGINE_ARRAY } engine_kind;
typedef enum {
    EXPORT_PROGRAM,
    EXPORT_VECTORS,
    EXPORT_C,
    EXPORT_FIXED_POINT,
    EXPORT_CSV,
    EXPORT_TFLITE,
    EXPORT_ONNX
} export_kind;
typedef enum { METHOD_QCAPSNETS, METHOD_BITS } search_method;
enum { TUNER_GRADIENT = DT_TUNER_GREEDY + 1 };
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

/* What becomes of an option's value after the run. A SAVED value is kept in config.json, and --resume takes it from
 * there. A FIXED value is kept too, and --resume refuses another one. */
typedef enum { FORGOTTEN, SAVED, FIXED } option_memory;

typedef struct {
    const char *name; /* without the dashes */
    option_kind kind;
    size_t offset; /* of its member in settings */
    int commands;  /* FOR_ bits */
    int group;     /* of the help */
    option_memory memory;
    const char *unit; /* what the help shows as its argument */
    double min, max;
    const char *const *words; /* WORD: the words in the order of the enumeration, NULL at the end */
    const char *special;      /* a word that stands for special_value, which may be outside min..max; NULL: none */
    int special_value;
    int flag_value;
    int of_network;    /* 1: it has no field, but is an option of built-in networks, of settings.model by its name */
    const char *about; /* its text in the help */
} option_row;

enum { MAX_OPTION_ROWS = 256 };

extern const option_row *const option_rows;
extern int n_option_rows;
/* Makes them, before anything else is done with options. */
void option_rows_make(void);
extern const char *const device_words[], *const engine_words[], *const style_words[];

enum { STYLE_FLOAT = DT_ONNX_QONNX + 1 };
extern const char *const method_words[], *const tuner_words[], *const tune_words[], *const compat_words[];

/* Sets the defaults of all options. */
DT_MUST_CHECK dt_status settings_default(settings *out);
void settings_free(settings *s);

/* Checks the text alone, of a row of_network: whether the network has the option is known when its name is. */
DT_MUST_CHECK dt_status option_check(const option_row *row, const char *text);
/* Sets an option from a text. DT_ERR_ARGUMENT names the option, its value and the range. A TEXT points to text, which
 * must stay; a FLAG ignores it. */
DT_MUST_CHECK dt_status option_set(const option_row *row, const char *text, settings *s);
/* Writes the value of an option to text as option_set would read it. A TEXT that is NULL is "", and a FLAG is "0" or
 * "1". */
void option_format(const option_row *row, const settings *s, char *text, size_t bytes);
/* Writes the range of an option to text, such as "2..8 or float". It is "" for an option without a range. */
void option_range(const option_row *row, char *text, size_t bytes);

/* Makes a JSON object of the SAVED and FIXED options. The caller deletes it. */
DT_MUST_CHECK dt_status settings_to_json(const settings *s, cJSON **out);
/* Sets the options from such an object. */
DT_MUST_CHECK dt_status settings_from_json(const cJSON *options, settings *s);

#endif /* DT_CLI_SETTINGS_H */
