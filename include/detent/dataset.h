/*
 * dataset.h - labelled images: known data sets, and images in the caller's memory.
 */
#ifndef DT_PUBLIC_DATASET_H
#define DT_PUBLIC_DATASET_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which images of a data set. TRAIN and VALIDATION share its training files: `held_out` of those images are for
 * VALIDATION alone, and TRAIN has the others. */
typedef enum { DT_SPLIT_TRAIN, DT_SPLIT_TEST, DT_SPLIT_VALIDATION } dt_split;

typedef struct {
    const char *name; /* one of dt_dataset_known() */
    const char *dir;  /* folder of its files; NULL: the data set's default folders */
    dt_split split;
    int64_t limit;    /* images of a subset, with equally many of each class, +-1; 0: all images */
    int64_t held_out; /* training images kept for validation, with equally many of each class, +-1; 0: none */
    uint64_t seed;    /* chooses both subsets, and makes the synthetic images */
    int height;       /* of the images; 0: as in the files. Without resize it is not less than in the files */
    int width;        /* likewise */
    int resize;       /* 1: images are scaled to height x width, bilinearly, as Pillow does; 0: padded evenly with 0 */
    int channels;     /* 3 repeats the one channel of grey images; 0: as in the files */
} dt_dataset_options;

/* Bytes of a data set's name and of a fingerprint, the NUL included. */
enum { DT_DATASET_NAME_BYTES = 32, DT_FINGERPRINT_BYTES = 17 /* ends included */ };

/* What a dataset holds. The pointers are the dataset's, and valid until it is closed. */
typedef struct {
    const char *name;
    /* Checksum of all images and labels in the split's files, whatever was asked for: in hexadecimal the CRC-32 of the
     * pixels and that of the labels, taken as one byte each. A file and its .gz have the same. It finds mistakes, not
     * forgeries. */
    char fingerprint[DT_FINGERPRINT_BYTES];
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4]; /* of each channel, for pixels in 0..1: x = (pixel / 255 - mean) / std */
    float std[4];
} dt_dataset_view;

/* What a network was trained on. Wherever the network runs, images are normalised by this mean and std. */
typedef struct {
    char name[DT_DATASET_NAME_BYTES];       /* of the data set; "": unknown, and the other members mean nothing */
    int n_images;                           /* images that it was trained on; 0: unknown */
    char fingerprint[DT_FINGERPRINT_BYTES]; /* of the training files; "": unknown */
    float mean[4];                          /* of each channel; 0 where the network reads pixels in 0..1 */
    float std[4];                           /* 1 where the network reads pixels in 0..1; 0 past the last channel */
} dt_data_origin;

/* A known data set. */
typedef struct {
    const char *name;
    const char *about; /* such as "60,000 + 10,000 grey 28x28 images of clothing, 10 classes" */
    const char *files; /* the names of its files, separated by blanks */
    const char *where; /* its default folders in the order in which they are tried, separated by ':'; "": none */
    const char *get;   /* one line that says how to get the files */
} dt_dataset_info;

/* Sets *out to the table of known data sets, and returns their number. */
DT_API int dt_dataset_known(const dt_dataset_info **out);
/* Writes to found, of `bytes` bytes, the folder that holds all files of a split. It fails as dt_dataset_open would. */
DT_API DT_MUST_CHECK dt_status dt_dataset_find(const char *name, const char *dir, dt_split split, char *found,
                                               size_t bytes);
/* Reads a data set into memory. Messages name the file, or the option with its range. */
DT_API DT_MUST_CHECK dt_status dt_dataset_open(const dt_dataset_options *opt, dt_dataset **out);
DT_API void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out);
DT_API void dt_dataset_close(dt_dataset *d);

/* Images in the caller's memory. */
typedef struct {
    const char *name;      /* 1 to 31 characters; checkpoints name it as what a network was trained on */
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1; NULL: all 0 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4], std[4]; /* of each channel, for pixels in 0..1; std 0: both are computed from the images */
} dt_images;

/* Makes a dataset of copies of the images and labels. */
DT_API DT_MUST_CHECK dt_status dt_dataset_from_memory(const dt_images *images, dt_dataset **out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_DATASET_H */
