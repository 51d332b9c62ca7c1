/*
 * study_tables.c - the tables of a study: ours, and in parentheses the study's numbers with its arrows. See study.h.
 *
 * Accuracies are in per cent: of predictions, or of labels of networks that have several. In the tables of networks
 * that were trained with quantizers an arrow compares with the same cell after training, and in those of final networks
 * with the network of reals: up or down by more than the threshold, else about equal.
 */
#include "study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QAT_THRESHOLD   0.1  /* points: what the slides' one digit shows */
#define FINAL_THRESHOLD 0.02 /* of a metric of 0..1; the study does not state its own */

const char *const study_scheme_names[] = { "Unquantized model", "DRQ", "FIQ - Float32", "FIQ - Int8", "FIQ - UInt8" };
const char *const study_strategy_names[] = { "PTQ", "QAT" };
const char *const study_column_names[] = { "After pruning lean", "After pruning fat", "Before pruning lean",
                                           "Before pruning fat" };
static const char *const metric_names[2][STUDY_METRICS] = {
    { "Accuracy", "Precision", "Recall", "F1", "Balanced accuracy", "Cohen's kappa" },
    { "Binary accuracy", "Precision", "Recall", "F1", "Hamming loss", "Jaccard score" }
};
static const char *const metric_keys[2][STUDY_METRICS] = {
    { "accuracy", "macro_precision", "macro_recall", "macro_f1", "balanced_accuracy", "cohen_kappa" },
    { "binary_accuracy", "macro_precision", "macro_recall", "macro_f1", "hamming_loss", "macro_jaccard" }
};

/* The files of a version that hold a scheme's cells. int8 and uint8 are measured as float32 is: with correct rounding
 * they have the same codes, which the files of the three types show. */
static const char *const scheme_files[] = { "eval-float", "eval-drq", "eval-int8", "eval-int8", "eval-int8" };

typedef struct {
    const settings *s;
    FILE *md, *csv;
    study_accuracy_table *accuracy;
    dt_status status; /* the first failure */
} tables;

/* ---- what commands gave ---- */

static int has_labels(const study_version *v)
{
    return v->model > 0;
}

/* Reads what a command of a version printed as JSON; the caller deletes it. NULL: it has failed. */
static cJSON *read_output(tables *t, const study_version *v, int is_qat, const char *name)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 64], *text = NULL;
    size_t bytes = 0;

    study_folder(t->s->out, v, folder);
    snprintf(path, sizeof path, "%s%s/%s.out", folder, is_qat ? "/QAT" : "", name);
    dt_status status = read_file(path, &text, &bytes);
    cJSON *json = text ? cJSON_ParseWithLength(text, bytes) : NULL;
    free(text);
    if (status == DT_OK && !json)
        status = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: is missing, or no JSON", path);
    if (t->status == DT_OK) t->status = status;
    return json;
}

static double metric_of(tables *t, const cJSON *output, const char *key)
{
    const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(output, "metrics");
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(metrics, key);

    if (output && !cJSON_IsNumber(value) && !cJSON_IsNull(value) && t->status == DT_OK)
        t->status = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "an evaluation has no metric '%s'", key);
    return json_number(value);
}

static double metric(tables *t, const study_version *v, int is_qat, const char *name, int which)
{
    cJSON *output = read_output(t, v, is_qat, name);
    const double value = metric_of(t, output, metric_keys[has_labels(v)][which]);

    cJSON_Delete(output);
    return value;
}

/* Of how many samples both files of a comparison give equal scores. */
static int equal_scores(tables *t, const study_version *v, int is_qat, const char *name)
{
    cJSON *output = read_output(t, v, is_qat, name);
    const cJSON *images = cJSON_GetObjectItemCaseSensitive(output, "images"), *image;
    int n = 0;

    cJSON_ArrayForEach(image, images)
    {
        const cJSON *by = cJSON_GetObjectItemCaseSensitive(image, "largest_difference");
        n += cJSON_IsNumber(by) && by->valuedouble == 0.0;
    }
    cJSON_Delete(output);
    return n;
}

/* ---- cells ---- */

static char arrow_of(double value, double with, double threshold)
{
    if (!isfinite(value) || !isfinite(with)) return ' ';
    return value > with + threshold ? '+' : value < with - threshold ? '-' : '~';
}

static const char *arrow_text(char arrow)
{
    return arrow == '+' ? "\xe2\x86\x91" : arrow == '-' ? "\xe2\x86\x93" : arrow == '~' ? "~" : "";
}

typedef struct {
    const char *table, *strategy, *scheme, *column, *metric;
    study_number own, of_study; /* of_study.value NAN: it has none */
    int digits;
} cell;

static void write_number(FILE *to, const study_number *n, int digits)
{
    if (isfinite(n->value))
        fprintf(to, "%.*f%s", digits, n->value, arrow_text(n->arrow));
    else
        fputs("-", to);
}

static void write_csv_value(FILE *to, const study_number *n, int digits)
{
    if (isfinite(n->value))
        fprintf(to, ",%.*f,%s", digits, n->value,
                n->arrow == '+'   ? "up"
                : n->arrow == '-' ? "down"
                : n->arrow == '~' ? "equal"
                                  : "");
    else
        fputs(",,", to);
}

static void write_cell(tables *t, const cell *c)
{
    fputs(" ", t->md);
    write_number(t->md, &c->own, c->digits);
    if (isfinite(c->of_study.value)) {
        fputs(" (", t->md);
        write_number(t->md, &c->of_study, c->digits);
        fputs(")", t->md);
    }
    fputs(" |", t->md);
    fprintf(t->csv, "%s,%s,%s,%s,%s", c->table, c->strategy, c->scheme, c->column, c->metric);
    write_csv_value(t->csv, &c->own, c->digits);
    write_csv_value(t->csv, &c->of_study, c->digits);
    fputs("\n", t->csv);
}

static void write_heads(FILE *to, const char *first, const char *const *name, int n)
{
    fprintf(to, "| %s |", first);
    for (int i = 0; i < n; i++) fprintf(to, " %s |", name[i]);
    fputs("\n|---|", to);
    for (int i = 0; i < n; i++) fputs("---|", to);
    fputs("\n", to);
}

/* ---- the twelve networks ---- */

static double accuracy(tables *t, int model, int strategy, int scheme, int column)
{
    return 100.0 * metric(t, &study_versions[model * STUDY_COLUMNS + column], strategy, scheme_files[scheme], 0);
}

static void write_accuracies(tables *t, int model, int strategy)
{
    fprintf(t->md, "\n### %s: prediction accuracy in %%, %s\n\n", study_model_names[model],
            study_strategy_names[strategy]);
    write_heads(t->md, "Scheme", study_column_names, STUDY_COLUMNS);
    for (int scheme = 0; scheme < STUDY_SCHEMES; scheme++) {
        fprintf(t->md, "| %s |", study_scheme_names[scheme]);
        for (int column = 0; column < STUDY_COLUMNS; column++) {
            const double own = accuracy(t, model, strategy, scheme, column);
            const double before = strategy ? t->accuracy->value[model][0][column][scheme] : NAN;
            const cell c = { study_model_names[model],
                             study_strategy_names[strategy],
                             study_scheme_names[scheme],
                             study_column_names[column],
                             metric_names[model > 0][0],
                             { own, arrow_of(own, before, QAT_THRESHOLD) },
                             study_accuracies[model][strategy][scheme][column],
                             1 };
            write_cell(t, &c);
            t->accuracy->value[model][strategy][column][scheme] = own;
        }
        fputs("\n", t->md);
    }
}

/* ---- the final networks ---- */

static void write_final(tables *t, int final, int strategy)
{
    const study_version *v = &study_versions[STUDY_MODELS * STUDY_COLUMNS + final];

    fprintf(t->md, "\n### %s, final, %s: %s (%s)\n\n", study_model_names[v->model], study_strategy_names[strategy],
            v->file, v->folder);
    write_heads(t->md, "Scheme", metric_names[has_labels(v)], STUDY_METRICS);
    for (int scheme = 0; scheme < STUDY_SCHEMES; scheme++) {
        fprintf(t->md, "| %s |", study_scheme_names[scheme]);
        for (int m = 0; m < STUDY_METRICS; m++) {
            const double own = metric(t, v, strategy, scheme_files[scheme], m);
            const double real = metric(t, v, strategy, scheme_files[0], m);
            const study_number none = { NAN, ' ' };
            const cell c = { v->folder,
                             study_strategy_names[strategy],
                             study_scheme_names[scheme],
                             v->file,
                             metric_names[has_labels(v)][m],
                             { own, scheme ? arrow_of(own, real, FINAL_THRESHOLD) : ' ' },
                             strategy ? none : study_finals[final][scheme][m],
                             3 };
            write_cell(t, &c);
        }
        fputs("\n", t->md);
    }
}

/* ---- input and output types ---- */

static void write_casts_of(tables *t, const study_version *v, int strategy, int n_compared)
{
    static const char *const name[] = { "eval-int8", "eval-truncate-i8", "eval-truncate-u8" };

    fprintf(t->md, "| %s %s | %s |", study_model_names[v->model], v->folder, study_strategy_names[strategy]);
    for (int i = 0; i < 3; i++) fprintf(t->md, " %.1f |", 100.0 * metric(t, v, strategy, name[i], 0));
    fprintf(t->md, " %d, %d of %d |\n", equal_scores(t, v, strategy, "same-i8"),
            equal_scores(t, v, strategy, "same-u8"), n_compared);
}

static void write_casts(tables *t)
{
    static const char *const heads[] = { "strategy", "rounded", "cast to int8", "cast to uint8",
                                         "int8, uint8 equal to float32" };
    static const char *const wide[] = { "eval-wide", "eval-wide-truncate-i8", "eval-wide-truncate-u8" };

    fputs("\n## Input and output of int8 and uint8\n\n"
          "Rounded correctly, the files whose input and output are float32, int8 and uint8 predict the same: the last "
          "column "
          "counts samples for which the TensorFlow Lite files of int8 and uint8 give the scores of that of float32. "
          "The study's host divides by the scale, adds "
          "the zero "
          "point and casts, which cuts off toward 0 and wraps: the two columns before it.\n\n",
          t->md);
    write_heads(t->md, "network", heads, 5);
    for (int i = 0; i < STUDY_VERSIONS; i++) {
        for (int strategy = 0; strategy < STUDY_STRATEGIES; strategy++)
            write_casts_of(t, &study_versions[i], strategy, STUDY_COMPARED);
    }
    fputs("\nWhere the range of the input is many times the signal, here -150 to 150 for the lean SmartWatch before "
          "pruning, the "
          "cast changes more:",
          t->md);
    for (int i = 0; i < 3; i++) {
        fprintf(t->md, " %s %.1f %%%s", heads[1 + i], 100.0 * metric(t, &study_versions[2], 0, wide[i], 0),
                i < 2 ? "," : ".\n");
    }
}

/* ---- the whole ---- */

static void write_head(tables *t)
{
    fprintf(t->md,
            "# Quantization results\n\nSmartWatch on %s, BSPC and BSPC-GAP on %s%s. Each cell has our number and, in "
            "parentheses, the study's, which is of other data. Arrows of QAT compare with the same cell of PTQ (more "
            "than %g "
            "points up or down, else ~), those of final networks with the unquantized one (more than %g). The study "
            "has no QAT of "
            "final networks.\n\n## Prediction accuracy\n",
            t->s->study_windows, t->s->study_beats, t->s->study_quick ? ", few samples and epochs (--quick)" : "",
            QAT_THRESHOLD, FINAL_THRESHOLD);
    fputs("table,strategy,scheme,network,metric,value,arrow,study,study_arrow\n", t->csv);
}

static void write_all(tables *t)
{
    write_head(t);
    for (int model = 0; model < STUDY_MODELS; model++) {
        for (int strategy = 0; strategy < STUDY_STRATEGIES; strategy++) write_accuracies(t, model, strategy);
    }
    fputs("\n## Final networks\n", t->md);
    for (int final = 0; final < STUDY_FINALS; final++) {
        for (int strategy = 0; strategy < STUDY_STRATEGIES; strategy++) write_final(t, final, strategy);
    }
    write_casts(t);
}

static dt_status put(const settings *s, const char *name, const char *text, size_t bytes)
{
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(s->out, name, path));
    return dt_file_replace(path, text, bytes);
}

dt_status study_write_tables(const settings *s, study_accuracy_table *out)
{
    char *md = NULL, *csv = NULL;
    size_t md_bytes = 0, csv_bytes = 0;
    tables t = {
        .s = s, .md = open_memstream(&md, &md_bytes), .csv = open_memstream(&csv, &csv_bytes), .accuracy = out
    };

    if (t.md && t.csv) write_all(&t);
    const int is_good = t.md && t.csv && !ferror(t.md) && !ferror(t.csv);
    if (t.md && fclose(t.md) != 0) t.status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for study.md");
    if (t.csv && fclose(t.csv) != 0) t.status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for study.csv");
    if (!is_good) t.status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the tables of the study");
    if (t.status == DT_OK) t.status = put(s, "study.md", md, md_bytes);
    if (t.status == DT_OK) t.status = put(s, "study.csv", csv, csv_bytes);
    free(md);
    free(csv);
    return t.status;
}
