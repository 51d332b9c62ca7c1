/*
 * dataset.h - what a dataset is inside, and what a file format's reader gives to it.
 *
 * known.c lists the datasets, folder.c finds their files, a reader (idx.c, cifar10.c, svhn.c, synthetic.c) checks and
 * unpacks them, subset.c chooses among the images, and dataset.c resizes (resize.c) or pads them. A new dataset is one
 * entry in known.c, and a reader where no present one knows its format.
 */
#ifndef DT_DATASET_H
#define DT_DATASET_H

#include "../core/train/dataset_view.h"

enum {
    DT_DATASET_PATH_BYTES = 4096, /* of a path, its end included */
    DT_DATASET_MAX_FILES = 5,     /* of a split */
    DT_DATASET_MAX_CLASSES = 10,
    DT_DATASET_MAX_SIDE = 4096 /* height or width; with it no product below overflows int64_t */
};

typedef struct dt_dataset_request dt_dataset_request;

/* One dataset: the shape of its images and where they come from. */
typedef struct {
    const dt_dataset_info *info;
    const char *files[2][DT_DATASET_MAX_FILES + 1]; /* of TRAIN, which VALIDATION shares, and TEST; NULL ends a list */
    int gz;                                         /* 1: name.gz will do in place of name */
    const char *subfolder; /* made by unpacking the archive, so its parent is accepted too; or NULL */
    int height, width, channels, n_classes;
    float mean[4], std[4];
    const char *refused;                                           /* why this build cannot read it, and the remedy */
    dt_status (*read)(const dt_dataset_request *r, dt_dataset *d); /* NULL: refused */
} dt_dataset_source;

/* What a reader is asked for. It calls dt_dataset_reserve once it believes the sizes, then fills d->images and
 * d->labels. Where it fails, the caller releases d. */
struct dt_dataset_request {
    const dt_dataset_source *source;
    const char *folder; /* holds every file of the split; "" where there are none */
    dt_split split;     /* TRAIN or TEST */
    uint64_t seed;      /* for images that are made, not read */
};

/* known.c: the entry of a name, DT_ERR_ARGUMENT with the names that exist, or DT_ERR_UNSUPPORTED. */
DT_MUST_CHECK dt_status dt_dataset_source_of(const char *name, const dt_dataset_source **out);

/* folder.c: the folder that holds all files of TRAIN or TEST; found has DT_DATASET_PATH_BYTES. */
DT_MUST_CHECK dt_status dt_dataset_folder(const dt_dataset_source *source, const char *dir, dt_split split,
                                          char *found);
/* folder.c: 1 and the path and size of a file (or its .gz, where the source allows that), or 0 if it is not there. */
int dt_dataset_file(const dt_dataset_source *source, const char *folder, const char *name, char *path, int64_t *bytes);

/* dataset.c: room for n images of the source's shape in an empty d. */
DT_MUST_CHECK dt_status dt_dataset_reserve(const dt_dataset_source *source, int64_t n, dt_dataset *d);

/* dataset.c: of all images and labels that d holds now. */
void dt_dataset_take_fingerprint(dt_dataset *d);

/* subset.c: keeps what opt->held_out leaves to the split, and of that a balanced subset of opt->limit images. */
DT_MUST_CHECK dt_status dt_dataset_hold_out(dt_dataset *d, const dt_dataset_options *opt);
DT_MUST_CHECK dt_status dt_dataset_take_subset(dt_dataset *d, const dt_dataset_options *opt);

/* The readers. */
dt_status dt_idx_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_cifar10_read(const dt_dataset_request *r, dt_dataset *d);
dt_status dt_svhn_read(const dt_dataset_request *r, dt_dataset *d); /* only with DETENT_HAVE_MATIO */
dt_status dt_synthetic_read(const dt_dataset_request *r, dt_dataset *d);

#endif /* DT_DATASET_H */
