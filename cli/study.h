/*
 * study.h - `detent report --study`: the matrix of a study of biomedical networks, run by the commands that a user has.
 *
 * study_plan.c knows the versions of the networks and the commands that make them, study_run.c runs the commands,
 * study_tables.c makes tables of what they gave, beside the numbers of study_numbers.c. report.c is the subcommand.
 */
#ifndef DT_STUDY_H
#define DT_STUDY_H

#include "cli.h"

enum {
    STUDY_MODELS = 3,     /* SmartWatch, BSPC, BSPC-GAP */
    STUDY_STRATEGIES = 2, /* quantized after training, trained with quantizers */
    STUDY_SCHEMES = 5,    /* unquantized, DRQ, FIQ float32, int8, uint8 */
    STUDY_COLUMNS = 4,    /* after pruning lean, fat, before pruning lean, fat */
    STUDY_FINALS = 9,
    STUDY_COMPARED = 50, /* samples whose predictions by two files are compared */
    STUDY_METRICS = 6,   /* of a final network, other ones of labels than of classes */
    STUDY_VERSIONS = STUDY_MODELS * STUDY_COLUMNS + STUDY_FINALS
};

/* A number of the study; arrow: '+' up, '-' down, '~' about equal, ' ' none. */
typedef struct {
    double value;
    char arrow;
} study_number;

extern const study_number study_accuracies[STUDY_MODELS][STUDY_STRATEGIES][STUDY_SCHEMES][STUDY_COLUMNS]; /* in % */
extern const study_number study_finals[STUDY_FINALS][STUDY_SCHEMES][STUDY_METRICS];                       /* 0..1 */

/* ---- the plan ---- */

typedef enum { STAGE_BEFORE, STAGE_AFTER, STAGE_FINAL } study_stage;

/* A version of a network. The first twelve are those of the columns, in their order for each model; then the finals. */
typedef struct {
    int model, is_fat;
    study_stage stage;
    const char *folder, *file; /* the study's names */
    const char *change;        /* AFTER: the share of parameters that is pruned; FINAL: --ranks */
} study_version;

extern const study_version study_versions[STUDY_VERSIONS];
extern const char *const study_model_names[STUDY_MODELS];
extern const char *const study_network_files[STUDY_MODELS][2]; /* lean, fat; without folder and ".json" */

/* How long a network is trained, and on what. */
typedef struct {
    int train, test; /* samples; 0: all */
    int batch;
    double lr;
    int epochs, tune_epochs, qat_epochs; /* from the start; after each change; with quantizers */
} study_size;

extern const study_size study_sizes[2][STUDY_MODELS][2]; /* quick, else; of each model lean, fat */

/* Writes the folder of a version to text, which has PATH_BYTES. */
void study_folder(const char *dir, const study_version *v, char *text);

/* A command. */
typedef struct {
    char **arg; /* [n], NULL at the end; owned, as the texts below */
    int n;
    char *what;   /* for people: "SMARTWATCH lean, after pruning: eval-int8" */
    char *output; /* file of what it prints */
    char *mark;   /* file that is there when it is done */
    char *run;    /* directory of the run that it trains, or NULL */
} study_job;

/* Commands that run one after the other. */
typedef struct {
    study_job *job; /* [n] */
    int n, room;
} study_chain;

enum { STUDY_CHAINS = STUDY_MODELS * 2 };

typedef struct {
    study_chain chain[STUDY_CHAINS]; /* of each model's lean and fat versions; they may run side by side */
    study_chain end;                 /* when these have ended */
    dt_status status;                /* of building it: the first failure */
} study_plan;

/* Makes all commands. study_plan_free releases them, also if it fails. */
DT_MUST_CHECK dt_status study_plan_make(const settings *s, study_plan *out);
void study_plan_free(study_plan *p);

/* ---- running it ---- */

/* Runs the commands that are not done yet, up to s->jobs at once. DT_ERR_INTERRUPTED: asked to stop; the same command
 * goes on. */
DT_MUST_CHECK dt_status study_run(const settings *s, study_plan *p);
/* Prints the processor time, of user and system, that the commands have taken, by subcommand. */
void study_tell_cost(const study_plan *p);
/* Writes the commands as a script, as a user would type them. */
DT_MUST_CHECK dt_status study_write_commands(const settings *s, const study_plan *p);

/* ---- tables ---- */

extern const char *const study_scheme_names[STUDY_SCHEMES];
extern const char *const study_strategy_names[STUDY_STRATEGIES];
extern const char *const study_column_names[STUDY_COLUMNS];

/* Accuracies in %. */
typedef struct {
    double value[STUDY_MODELS][STUDY_STRATEGIES][STUDY_COLUMNS][STUDY_SCHEMES];
} study_accuracy_table;

/* Writes study.md and study.csv, and sets *out. */
DT_MUST_CHECK dt_status study_write_tables(const settings *s, study_accuracy_table *out);
/* Writes study.html. In study_page.c. */
DT_MUST_CHECK dt_status study_write_page(const settings *s, const study_accuracy_table *a);

#endif /* DT_STUDY_H */
