/*
 * known.c - the table of data sets: what people are told about each, and what its reader needs.
 *
 * mean and std are those in common use for training on each set: over its training images, for pixels in 0..1.
 * Tests: tests/datasets/test_dataset.c.
 */
#include "dataset.h"
#include "kinds.h"

#include <stdio.h>
#include <string.h>

#define IDX_TRAIN_IMAGES "train-images-idx3-ubyte"
#define IDX_TRAIN_LABELS "train-labels-idx1-ubyte"
#define IDX_TEST_IMAGES  "t10k-images-idx3-ubyte"
#define IDX_TEST_LABELS  "t10k-labels-idx1-ubyte"
#define IDX_ALL          IDX_TRAIN_IMAGES " " IDX_TRAIN_LABELS " " IDX_TEST_IMAGES " " IDX_TEST_LABELS

#define DEFAULT_FOLDERS(name) "$DETENT_DATA/" name ":./data/" name

#ifdef DETENT_HAVE_MATIO
#define SVHN_READ dt_svhn_read
#else
#define SVHN_READ NULL
#endif

enum { MNIST, FASHION_MNIST, CIFAR10, SVHN, SYNTHETIC, SYNTHETIC_WINDOWS, SYNTHETIC_BEATS, N_KNOWN };

static const dt_dataset_info infos[N_KNOWN] = {
    [MNIST] = {
        .name = "mnist",
        .about = "60,000 + 10,000 grey 28x28 images of handwritten digits, 10 classes",
        .files = IDX_ALL,
        .where = DEFAULT_FOLDERS("mnist"),
        .get = "download the four files (.gz or unpacked) of https://ossci-datasets.s3.amazonaws.com/mnist/",
    },
    [FASHION_MNIST] = {
        .name = "fashion-mnist",
        .about = "60,000 + 10,000 grey 28x28 images of clothing, 10 classes",
        .files = IDX_ALL,
        .where = DEFAULT_FOLDERS("fashion-mnist") ":/usr/share/datasets/fashion-mnist",
        .get = "apt-get install dataset-fashion-mnist, or see https://github.com/zalandoresearch/fashion-mnist",
    },
    [CIFAR10] = {
        .name = "cifar10",
        .about = "50,000 + 10,000 colour 32x32 images of animals and vehicles, 10 classes",
        .files = "data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin",
        .where = DEFAULT_FOLDERS("cifar10"),
        .get = "unpack the binary version, https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    },
    [SVHN] = {
        .name = "svhn",
        .about = "73,257 + 26,032 colour 32x32 images of house numbers, 10 classes",
        .files = "train_32x32.mat test_32x32.mat",
        .where = DEFAULT_FOLDERS("svhn"),
        .get = "download train_32x32.mat and test_32x32.mat of http://ufldl.stanford.edu/housenumbers/",
    },
    [SYNTHETIC] = {
        .name = "synthetic",
        .about = "10,000 + 2,000 colour 32x32 images made from the seed, 10 classes",
        .files = "",
        .where = "",
        .get = "nothing to get: the images are computed",
    },
    [SYNTHETIC_WINDOWS] = {
        .name = "synthetic-windows",
        .about = "6,000 + 2,000 windows of six sensors, 100x6x1 reals made from the seed, 6 activities",
        .files = "",
        .where = "",
        .get = "nothing to get: the windows are computed",
    },
    [SYNTHETIC_BEATS] = {
        .name = "synthetic-beats",
        .about = "2,000 + 500 ECGs of 12 leads, 1000x12x1 reals made from the seed, 5 labels each",
        .files = "",
        .where = "",
        .get = "nothing to get: the records are computed",
    },
};

static const char *const clothing_names[] = { "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                              "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot" };
static const char *const cifar10_names[] = { "airplane", "automobile", "bird",  "cat",  "deer",
                                             "dog",      "frog",       "horse", "ship", "truck" };
static const char *const window_names[] = { "strolling", "walking", "climbing", "running", "sitting", "cycling" };
static const char *const beat_names[] = { "fast", "wide", "raised", "turned", "large" };

static const dt_dataset_source sources[N_KNOWN] = {
    [MNIST] = {
        .info = &infos[MNIST],
        .files = { { IDX_TRAIN_IMAGES, IDX_TRAIN_LABELS }, { IDX_TEST_IMAGES, IDX_TEST_LABELS } },
        .gz = 1,
        .subfolder = "MNIST/raw", /* torchvision's */
        .height = 28, .width = 28, .channels = 1, .n_classes = 10,
        .mean = { 0.1307f },
        .std = { 0.3081f },
        .read = dt_idx_read,
    },
    [FASHION_MNIST] = {
        .info = &infos[FASHION_MNIST],
        .files = { { IDX_TRAIN_IMAGES, IDX_TRAIN_LABELS }, { IDX_TEST_IMAGES, IDX_TEST_LABELS } },
        .gz = 1,
        .subfolder = "FashionMNIST/raw",
        .height = 28, .width = 28, .channels = 1, .n_classes = 10,
        .mean = { 0.2860f },
        .std = { 0.3530f },
        .class_names = clothing_names,
        .read = dt_idx_read,
    },
    [CIFAR10] = {
        .info = &infos[CIFAR10],
        .files = { { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                     "data_batch_5.bin" },
                   { "test_batch.bin" } },
        .subfolder = "cifar-10-batches-bin",
        .height = 32, .width = 32, .channels = 3, .n_classes = 10,
        .mean = { 0.491f, 0.482f, 0.447f },
        .std = { 0.247f, 0.243f, 0.262f },
        .class_names = cifar10_names,
        .read = dt_cifar10_read,
    },
    [SVHN] = {
        .info = &infos[SVHN],
        .files = { { "train_32x32.mat" }, { "test_32x32.mat" } },
        .height = 32, .width = 32, .channels = 3, .n_classes = 10,
        .mean = { 0.4377f, 0.4438f, 0.4728f },
        .std = { 0.1980f, 0.2010f, 0.1970f },
        .read = SVHN_READ,
        .refused = "this build cannot read .mat files: install libmatio-dev, then configure and build again",
    },
    [SYNTHETIC] = {
        .info = &infos[SYNTHETIC],
        .height = 32, .width = 32, .channels = 3, .n_classes = 10,
        .mean = { 0.5f, 0.5f, 0.5f },
        .std = { 0.25f, 0.25f, 0.25f },
        .read = dt_synthetic_read,
    },
    [SYNTHETIC_WINDOWS] = {
        .info = &infos[SYNTHETIC_WINDOWS],
        .height = 100, .width = 6, .channels = 1, .n_classes = 6, .is_real = 1,
        .class_names = window_names,
        .read = dt_synthetic_windows_read,
    },
    [SYNTHETIC_BEATS] = {
        .info = &infos[SYNTHETIC_BEATS],
        .height = 1000, .width = 12, .channels = 1, .n_classes = 5, .is_real = 1, .multi_label = 1,
        .class_names = beat_names,
        .read = dt_synthetic_beats_read,
    },
};

int dt_dataset_known(const dt_dataset_info **out)
{
    *out = infos;
    return N_KNOWN;
}

int dt_dataset_has_pictures(const char *name)
{
    for (int i = 0; name && i < N_KNOWN; i++) {
        if (strcmp(infos[i].name, name) == 0) return !sources[i].is_real;
    }
    return !dt_kind_of(name);
}

dt_status dt_dataset_source_of(const char *name, const dt_dataset_source **out)
{
    const dt_dataset_source *source = NULL;
    char names[256] = "";

    DT_CHECK(name != NULL, DT_ERR_ARGUMENT, "no dataset is named");
    for (int i = 0; i < N_KNOWN; i++) {
        const size_t used = strlen(names);

        snprintf(names + used, sizeof names - used, " %s", infos[i].name);
        if (strcmp(infos[i].name, name) == 0) source = &sources[i];
    }
    DT_CHECK(source != NULL, DT_ERR_ARGUMENT, "there is no dataset '%s', only:%s, and KIND:PATH as 'detent data' lists",
             name, names);
    DT_CHECK(source->read != NULL, DT_ERR_UNSUPPORTED, "%s: %s", name, source->refused);
    *out = source;
    return DT_OK;
}
