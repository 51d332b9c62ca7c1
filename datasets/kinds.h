/*
 * kinds.h - data sets that a user names by their kind and a file or folder: "csv:iris.csv",
 * "wisdm11:raw.txt,stride=20".
 *
 *   KIND:PATH[,OPTION=VALUE]...
 *
 * The whole text is the data set's name, so that a network that was trained on it finds the same samples again. kinds.c
 * reads the text and divides samples into training and test; each kind has a reader. A new kind is a row in kinds.c and
 * a reader.
 */
#ifndef DT_KINDS_H
#define DT_KINDS_H

#include "dataset.h"

typedef struct dt_kind dt_kind;

/* What a reader is asked for. The options have their defaults, or what the text says. */
typedef struct {
    const char *name;                 /* the whole text */
    char path[DT_DATASET_PATH_BYTES]; /* of the file or folder */
    dt_split split;                   /* TRAIN or TEST */
    int test;                         /* percent of samples, or of subjects, that are for TEST */
    int seed;                         /* of that choice */
    int normalize;                    /* index into "data", "none" */
    int window, stride;               /* of signals: values of a window along time, and from one window to the next */
    int signals;                      /* har: 6 or 9; wisdm: 3 or 6 */
    int fold;                         /* ptbxl: the fold of TEST */
    int device;                       /* wisdm: index into "watch", "phone" */
    char activities[32];              /* wisdm: letters of activities, in the order of the classes */
    /* The reader sets one of these. */
    int is_split;   /* 1: d holds the split alone */
    int32_t *group; /* [n] the subject of each sample; owned; NULL: samples are drawn one by one */
} dt_kind_request;

/* Returns 1 if the name is "KIND:..." of a known kind. NULL has none. */
int dt_kind_of(const char *name);
/* Writes the path of the file or folder, of DT_DATASET_PATH_BYTES; a relative one is in dir, unless that is NULL.
 * DT_ERR_ARGUMENT: the text is wrong. DT_ERR_IO: there is no such file or folder. */
DT_MUST_CHECK dt_status dt_kind_path(const char *name, const char *dir, char *path);
/* Fills an empty d with the samples of TRAIN or TEST, and measures them. */
DT_MUST_CHECK dt_status dt_kind_read(const char *name, const char *dir, dt_split split, dt_dataset *d);

/* The readers. Each fills an empty d with all samples, or with those of r->split, and says which. If it fails, the
 * caller releases d and r->group. */
dt_status dt_safetensors_set_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_npz_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_csv_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_har_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_wisdm11_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_wisdm_read(dt_kind_request *r, dt_dataset *d);
dt_status dt_ptbxl_read(dt_kind_request *r, dt_dataset *d);

#endif /* DT_KINDS_H */
