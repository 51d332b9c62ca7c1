/*
 * dataset.h - labelled images: known data sets, and images of one's own.
 */
#ifndef DT_PUBLIC_DATASET_H
#define DT_PUBLIC_DATASET_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TRAIN and VALIDATION share the training files: `held_out` images of each dataset's are for VALIDATION alone. */
typedef enum { DT_SPLIT_TRAIN, DT_SPLIT_TEST, DT_SPLIT_VALIDATION } dt_split;

typedef struct {
    const char *name; /* one of dt_dataset_known() */
    const char *dir;  /* folder of its files; NULL: the dataset's own default folders */
    dt_split split;
    int64_t limit;    /* 0: all; else a subset with equally many images of every class, +-1 */
    int64_t held_out; /* training images kept for validation, equally many of every class, +-1; 0: none */
    uint64_t seed;    /* chooses both subsets, and makes the synthetic images */
    int height;       /* smaller images are zero-padded evenly to this, or resized; 0: as in the files */
    int width;
    int resize;   /* 1: images are scaled to height x width, bilinearly, as Pillow does it; 0: padded */
    int channels; /* 1 -> 3 repeats the grey channel; 0: as in the files */
} dt_dataset_options;

enum { DT_DATASET_NAME_BYTES = 32, DT_FINGERPRINT_BYTES = 17 /* ends included */ };

/* Borrowed from the dataset; valid until it is closed. */
typedef struct {
    const char *name;
    /* Of all images and labels in the split's files, whatever was asked for: CRC-32 of the pixels and CRC-32 of the
     * labels, a byte each, in hexadecimal. Equal for a file and its .gz. It finds mistakes, not forgers. */
    char fingerprint[DT_FINGERPRINT_BYTES];
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4]; /* of a channel, for pixels in 0..1: x = (pixel / 255 - mean) / std */
    float std[4];
} dt_dataset_view;

/* What a network was trained on. Wherever it runs, images are normalised as those were. */
typedef struct {
    char name[DT_DATASET_NAME_BYTES];       /* of the dataset; "": unknown, and nothing else counts */
    int n_images;                           /* in training; 0: unknown */
    char fingerprint[DT_FINGERPRINT_BYTES]; /* of the training files; "": unknown */
    float mean[4];                          /* of a channel; 0 where the network takes pixels of 0..1 */
    float std[4];                           /* 1 there; 0 of channels that images do not have */
} dt_data_origin;

typedef struct {
    const char *name;
    const char *about; /* "60,000 + 10,000 grey 28x28 images of clothing, 10 classes" */
    const char *files; /* the files it looks for, separated by blanks */
    const char *where; /* folders it looks in, most wanted first, separated by ':'; "" where it needs --data */
    const char *get;   /* how to get the rest, one line */
} dt_dataset_info;

DT_API int dt_dataset_known(const dt_dataset_info **out); /* returns how many */
/* DT_OK and the folder that holds all files of the split, else the error that open would give. */
DT_API DT_MUST_CHECK dt_status dt_dataset_find(const char *name, const char *dir, dt_split split, char *found,
                                               size_t bytes);
DT_API DT_MUST_CHECK dt_status dt_dataset_open(const dt_dataset_options *opt, dt_dataset **out);
DT_API void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out);
DT_API void dt_dataset_close(dt_dataset *d);

/* Images of one's own, in memory. */
typedef struct {
    const char *name;      /* says in checkpoints what a network was trained on: 1 to 31 characters */
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1; NULL: all 0 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4], std[4]; /* of a channel, for pixels in 0..1; where std is 0 both are taken from the images */
} dt_images;

/* A dataset of copies of them. */
DT_API DT_MUST_CHECK dt_status dt_dataset_from_memory(const dt_images *images, dt_dataset **out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_DATASET_H */
