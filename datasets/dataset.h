/*
 * dataset.h - inside the data sets: their table, and their readers.
 *
 * known.c lists the data sets, folder.c finds their files, a reader (idx.c, cifar10.c, svhn.c, synthetic*.c) checks and
 * unpacks them, subset.c chooses among the images, and dataset.c resizes (by resize.c) or pads them. A new data set
 * needs an entry in known.c, and a reader if no reader knows its format. Data sets that a user names by a file or
 * folder, as in "csv:FILE", are of the kinds in kinds.h.
 */
#ifndef DT_DATASET_H
#define DT_DATASET_H

#include "../core/train/dataset_view.h"

enum {
    DT_DATASET_PATH_BYTES = 4096, /* of a path, the NUL included */
    DT_DATASET_MAX_FILES = 5,     /* of a split */
    DT_DATASET_MAX_CLASSES = 1000,
    DT_DATASET_MAX_SIDE = 4096 /* of height and width; small enough that no product here overflows int64_t */
};

typedef struct dt_dataset_request dt_dataset_request;

/* What memory a data set takes. */
typedef struct {
    const char *name;
    int64_t n; /* images */
    int height, width, channels, n_classes;
    int is_real, multi_label; /* as in dt_dataset_view, of reals */
} dt_dataset_shape;

/* One data set: the shape of its images, its files and its reader. */
typedef struct {
    const dt_dataset_info *info;
    const char *files[2][DT_DATASET_MAX_FILES + 1]; /* of TRAIN (and VALIDATION), and of TEST; NULL at the end */
    int gz;                                         /* 1: a file may be there as name.gz instead */
    const char *subfolder; /* that the archive unpacks to, so that its parent is accepted too; NULL: none */
    int height, width, channels, n_classes;
    int is_real, multi_label;
    float mean[DT_MOST_CHANNELS], std[DT_MOST_CHANNELS]; /* of reals both are measured, and these are not read */
    const char *const *class_names;                      /* NULL: none */
    const char *refused;                                 /* set if this build cannot read it: why, and the remedy */
    dt_status (*read)(const dt_dataset_request *r, dt_dataset *d); /* NULL: see refused */
} dt_dataset_source;

/* What a reader is asked for. It checks the files' sizes, calls dt_dataset_reserve, and fills d->images and d->labels.
 * If it fails, the caller releases d. */
struct dt_dataset_request {
    const dt_dataset_source *source;
    const char *folder; /* holds every file of the split; "" if the data set has no files */
    dt_split split;     /* TRAIN or TEST */
    uint64_t seed;      /* of synthetic images */
};

/* Sets *out to the data set of that name. DT_ERR_ARGUMENT: there is none, and the message has the names that exist.
 * DT_ERR_UNSUPPORTED: this build cannot read it. In known.c. */
DT_MUST_CHECK dt_status dt_dataset_source_of(const char *name, const dt_dataset_source **out);

/* Writes the folder that holds all files of TRAIN or TEST to found, which has DT_DATASET_PATH_BYTES. In folder.c. */
DT_MUST_CHECK dt_status dt_dataset_folder(const dt_dataset_source *source, const char *dir, dt_split split,
                                          char *found);
/* Sets path, which has DT_DATASET_PATH_BYTES, and *bytes to the path and size of a file, or of its .gz if the source
 * allows that, and returns 1. It returns 0 if there is no such file. In folder.c. */
int dt_dataset_file(const dt_dataset_source *source, const char *folder, const char *name, char *path, int64_t *bytes);

/* Allocates n images of the source's shape, and their labels, in an empty d. In dataset.c. */
DT_MUST_CHECK dt_status dt_dataset_reserve(const dt_dataset_source *source, int64_t n, dt_dataset *d);

/* Allocates images, or reals, and labels in an empty d. In dataset.c. */
DT_MUST_CHECK dt_status dt_dataset_allocate(const dt_dataset_shape *shape, dt_dataset *d);
/* Copies names of classes to d, which has n_classes of them. In dataset.c. */
DT_MUST_CHECK dt_status dt_dataset_name_classes(dt_dataset *d, const char *const *names);

/* Sets mean and std of a channel to those of its pixels, in 0..1, or of its reals. In measure.c. */
void dt_dataset_measure(dt_dataset *d, int channel);
/* DT_ERR_FORMAT names the first real that is no number. In measure.c. */
DT_MUST_CHECK dt_status dt_dataset_check_reals(const dt_dataset *d, const char *what);

/* Sets the fingerprint of the images and labels that d holds now. In dataset.c. */
void dt_dataset_take_fingerprint(dt_dataset *d);

/* Marks `count` of n things in chosen, [n], by a Fisher-Yates shuffle of that seed and epoch. In subset.c. */
DT_MUST_CHECK dt_status dt_dataset_draw(int64_t n, int64_t count, uint64_t seed, uint32_t epoch, uint8_t *chosen);
/* Moves the images with chosen[i] == keep to the front, in their order, and gives the rest of the memory back. In
 * subset.c. */
void dt_dataset_keep(dt_dataset *d, const uint8_t *chosen, int keep);
/* Keeps the images that opt->held_out leaves to the split. In subset.c. */
DT_MUST_CHECK dt_status dt_dataset_hold_out(dt_dataset *d, const dt_dataset_options *opt);
/* Keeps a balanced subset of opt->limit images. In subset.c. */
DT_MUST_CHECK dt_status dt_dataset_take_subset(dt_dataset *d, const dt_dataset_options *opt);

/* The readers. */
dt_status dt_idx_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_cifar10_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_svhn_read(const dt_dataset_request *r, dt_dataset *d); /* only with DETENT_HAVE_MATIO */
dt_status dt_synthetic_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_synthetic_windows_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_synthetic_beats_read(const dt_dataset_request *r, dt_dataset *d);

#endif /* DT_DATASET_H */
