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
    const char *name; /* one of dt_dataset_known(), or "KIND:PATH[,OPTION=VALUE]..." of dt_dataset_kinds() */
    const char *dir;  /* folder of its files, or of a relative PATH; NULL: the data set's default folders, or none */
    dt_split split;
    /* Images of a subset, with equally many of each class, +-1; 0: all images. Images with several labels each are
     * drawn without regard to labels, here and for held_out. */
    int64_t limit;
    int64_t held_out; /* training images kept for validation, with equally many of each class, +-1; 0: none */
    uint64_t seed;    /* chooses both subsets, and makes the synthetic images */
    int height;       /* of the images; 0: as in the files. Without resize it is not less than in the files */
    int width;        /* likewise */
    int resize;       /* 1: images are scaled to height x width, bilinearly, as Pillow does; 0: padded evenly with 0 */
    int channels;     /* 3 repeats the one channel of grey images; 0: as in the files */
} dt_dataset_options;

/* The most channels of images: of reals, and of pixels. */
enum { DT_MOST_CHANNELS = 64, DT_MOST_PIXEL_CHANNELS = 4 };

/* Bytes of a data set's name and of a fingerprint, the NUL included. */
enum { DT_DATASET_NAME_BYTES = 256, DT_FINGERPRINT_BYTES = 17 /* ends included */ };

/* What a dataset holds. The pointers are the dataset's, and valid until it is closed. */
typedef struct {
    const char *name;
    /* Checksum of all images and labels in the split's files, whatever was asked for: in hexadecimal the CRC-32 of the
     * pixels and that of the labels, taken as one byte each. A file and its .gz have the same. It finds mistakes, not
     * forgeries. */
    char fingerprint[DT_FINGERPRINT_BYTES];
    const uint8_t *images; /* [n][height][width][channels]; NULL: they are reals */
    const float *reals;    /* the same shape, of images that are no pixels, such as windows of signals; or NULL */
    /* [n], 0..n_classes-1. Where multi_label is 1, an image has several labels or none: [n][n_classes], 0 or 1. */
    const int32_t *labels;
    int multi_label;
    int64_t n;
    int height, width, channels, n_classes;
    /* Of each channel, for pixels in 0..1: x = (pixel / 255 - mean) / std; for reals x = (value - mean) / std. */
    float mean[DT_MOST_CHANNELS];
    float std[DT_MOST_CHANNELS];
    const char *const *class_names; /* [n_classes] of classes, or of labels; NULL: the data set has no names */
} dt_dataset_view;

/* What a network was trained on. Wherever the network runs, images are normalised by this mean and std. */
typedef struct {
    char name[DT_DATASET_NAME_BYTES];       /* of the data set; "": unknown, and the other members mean nothing */
    int n_images;                           /* images that it was trained on; 0: unknown */
    char fingerprint[DT_FINGERPRINT_BYTES]; /* of the training files; "": unknown */
    float mean[DT_MOST_CHANNELS];           /* of each channel; 0 where the network reads pixels in 0..1 */
    float std[DT_MOST_CHANNELS];            /* 1 where the network reads pixels in 0..1; 0 past the last channel */
    int is_real; /* 1: images are reals, x = (value - mean) / std; 0: pixels, x = (pixel / 255 - mean) / std */
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

/* A kind of data set that is named by a file or folder; docs/DATA.md describes them. */
typedef struct {
    const char *kind;    /* such as "csv" */
    const char *of;      /* "FILE" or "DIR" */
    const char *about;   /* what the file or folder holds */
    const char *options; /* names of the options, separated by blanks */
} dt_dataset_kind_info;

/* Sets *out to kind i, if there is one, and returns the number of kinds. */
DT_API int dt_dataset_kinds(int i, dt_dataset_kind_info *out);
/* Writes to found, of `bytes` bytes, the folder that holds all files of a split, or the path in a name with a kind. It
 * fails as dt_dataset_open would. */
DT_API DT_MUST_CHECK dt_status dt_dataset_find(const char *name, const char *dir, dt_split split, char *found,
                                               size_t bytes);
/* Returns 1 if augmentation means something for the data set's images: it is known, and they are pictures of pixels,
 * not windows of signals or arrays that may be anything. An unknown name has pictures. */
DT_API int dt_dataset_has_pictures(const char *name);
/* Reads a data set into memory. Messages name the file, or the option with its range. */
DT_API DT_MUST_CHECK dt_status dt_dataset_open(const dt_dataset_options *opt, dt_dataset **out);
DT_API void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out);
DT_API void dt_dataset_close(dt_dataset *d);

/* Images in the caller's memory: pixels or reals. */
typedef struct {
    const char *name;      /* 1 to 255 characters; checkpoints name it as what a network was trained on */
    const uint8_t *images; /* [n][height][width][channels], or NULL */
    const float *reals;    /* the same shape, of finite numbers, or NULL */
    const int32_t *labels; /* [n], 0..n_classes-1; where multi_label is 1, [n][n_classes] of 0 and 1; NULL: all 0 */
    int multi_label;       /* 1: an image may have several labels, or none */
    int64_t n;
    int height, width, channels, n_classes;
    /* Of each channel, for pixels in 0..1, or for reals; std 0: both are computed from the images. mean 0 and std 1
     * leave reals as they are. */
    float mean[DT_MOST_CHANNELS], std[DT_MOST_CHANNELS];
} dt_images;

/* Makes a dataset of copies of the images and labels. */
DT_API DT_MUST_CHECK dt_status dt_dataset_from_memory(const dt_images *images, dt_dataset **out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_DATASET_H */
