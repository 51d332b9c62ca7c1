/*
 * svhn.c - reader of SVHN's cropped digits (format 2) through libmatio.
 *
 *   X: uint8, height x width x channels x n;  y: n x 1, 1..10, where 10 is the digit 0
 *   MATLAB's order: the first index runs fastest, so X(h,w,c,n) is byte h + 32 * (w + 32 * (c + 3 * n)).
 *
 * Source: Netzer et al., "Reading digits in natural images with unsupervised feature learning", 2011, and its page.
 * Only MAT version 5 (packed or not) is read, which SVHN has. The header is checked here, so that libmatio never reads
 * another version. Inside a packed variable a byte offset means nothing, so messages have the variable's index.
 * Tests: tests/datasets/test_svhn.c.
 */
#include "dataset.h"

#ifdef DETENT_HAVE_MATIO

#include <errno.h>
#include <matio.h>
#include <stdio.h>
#include <string.h>

enum {
    SIDE = 32,
    CHANNELS = 3,
    IMAGE_BYTES = SIDE * SIDE * CHANNELS,
    DIGIT_ZERO = 10, /* its label in the file */
    HEADER_BYTES = 128,
    VERSION_AT = 124, /* le or be 16-bit 0x0100, then "IM" or "MI" in the writer's byte order */
    DEFLATE_MAX_RATIO = 1032
};

typedef struct {
    char path[DT_DATASET_PATH_BYTES];
    int64_t bytes;   /* size of the file */
    const char *get; /* remedy for messages */
    mat_t *mat;
    matvar_t *x, *y;
} svhn_file;

static dt_status svhn_header(const svhn_file *f)
{
    static const uint8_t little[] = { 0x00, 0x01, 'I', 'M' }, big[] = { 0x01, 0x00, 'M', 'I' };
    uint8_t header[HEADER_BYTES] = { 0 };
    const uint8_t *v = header + VERSION_AT;
    FILE *file = fopen(f->path, "rb");

    DT_CHECK(file != NULL, DT_ERR_IO, "%s: cannot be opened: %s", f->path, strerror(errno));
    const size_t got = fread(header, 1, sizeof header, file);
    fclose(file);
    DT_CHECK(got == sizeof header, DT_ERR_FORMAT,
             "%s, byte %zu: the file is cut off here, expected a header of %d bytes; %s", f->path, got, HEADER_BYTES,
             f->get);
    DT_CHECK(memcmp(v, little, sizeof little) == 0 || memcmp(v, big, sizeof big) == 0, DT_ERR_FORMAT,
             "%s, byte %d: found %02x %02x %02x %02x, expected MAT version 5 (00 01 49 4d); %s", f->path, VERSION_AT,
             v[0], v[1], v[2], v[3], f->get);
    return DT_OK;
}

/* The shape of X and y, before anything of their size is allocated. */
static dt_status svhn_shape(svhn_file *f, int64_t *n)
{
    f->x = Mat_VarReadInfo(f->mat, "X");
    f->y = Mat_VarReadInfo(f->mat, "y");
    DT_CHECK(f->x != NULL && f->y != NULL, DT_ERR_FORMAT, "%s: no variable %s, expected X and y; fetch it again: %s",
             f->path, f->x == NULL ? "X" : "y", f->get);
    const matvar_t *x = f->x, *y = f->y;
    DT_CHECK(x->class_type == MAT_C_UINT8 && !x->isComplex && x->rank == 4 && x->dims[0] == SIDE &&
                 x->dims[1] == SIDE && x->dims[2] == CHANNELS,
             DT_ERR_FORMAT,
             "%s: X has class %d, rank %d and is %zu x %zu x ..., expected uint8 (%d), 32 x 32 x 3 x n; %s", f->path,
             (int)x->class_type, x->rank, x->rank > 0 ? x->dims[0] : 0, x->rank > 1 ? x->dims[1] : 0, MAT_C_UINT8,
             f->get);
    const size_t most = (size_t)(f->bytes * DEFLATE_MAX_RATIO) / IMAGE_BYTES;
    DT_CHECK(x->dims[3] > 0 && x->dims[3] <= most, DT_ERR_FORMAT,
             "%s: X says %zu images, but a file of %lld bytes holds 1 to %zu; fetch it again: %s", f->path, x->dims[3],
             (long long)f->bytes, most, f->get);
    DT_CHECK((y->class_type == MAT_C_UINT8 || y->class_type == MAT_C_DOUBLE) && !y->isComplex && y->rank == 2,
             DT_ERR_FORMAT, "%s: y has class %d and rank %d, expected uint8 (%d) or double (%d) and 2; %s", f->path,
             (int)y->class_type, y->rank, MAT_C_UINT8, MAT_C_DOUBLE, f->get);
    DT_CHECK(y->dims[0] == x->dims[3] && y->dims[1] == 1, DT_ERR_FORMAT,
             "%s: y has %zu x %zu labels, but X has %zu images; %s", f->path, y->dims[0], y->dims[1], x->dims[3],
             f->get);
    *n = (int64_t)x->dims[3];
    return DT_OK;
}

static dt_status svhn_images(const svhn_file *f, dt_dataset *d)
{
    uint8_t image[IMAGE_BYTES];
    int start[4] = { 0 }, stride[4] = { 1, 1, 1, 1 }, edge[4] = { SIDE, SIDE, CHANNELS, (int)d->n };

    DT_CHECK(Mat_VarReadData(f->mat, f->x, d->images, start, stride, edge) == MATIO_E_NO_ERROR, DT_ERR_FORMAT,
             "%s: the %lld images of X cannot be unpacked, the file is cut off or damaged; fetch it again: %s", f->path,
             (long long)d->n, f->get);
    for (int64_t n = 0; n < d->n; n++) {
        uint8_t *out = d->images + n * IMAGE_BYTES;

        memcpy(image, out, sizeof image);
        for (int h = 0; h < SIDE; h++) {
            for (int w = 0; w < SIDE; w++) {
                for (int c = 0; c < CHANNELS; c++) *out++ = image[h + SIDE * (w + SIDE * c)];
            }
        }
    }
    return DT_OK;
}

static dt_status svhn_labels(const svhn_file *f, dt_dataset *d)
{
    DT_CHECK(Mat_VarReadDataAll(f->mat, f->y) == MATIO_E_NO_ERROR && f->y->data != NULL, DT_ERR_FORMAT,
             "%s: the %lld labels of y cannot be unpacked, the file is cut off or damaged; fetch it again: %s", f->path,
             (long long)d->n, f->get);
    const uint8_t *bytes = f->y->data;
    const double *doubles = f->y->data;
    for (int64_t i = 0; i < d->n; i++) {
        const double label = f->y->class_type == MAT_C_UINT8 ? bytes[i] : doubles[i];
        const int digit = label >= 1 && label <= DIGIT_ZERO ? (int)label : 0;

        DT_CHECK(digit != 0 && digit == label, DT_ERR_FORMAT, "%s: y(%lld) is %g, expected 1 to %d; %s", f->path,
                 (long long)i + 1, label, DIGIT_ZERO, f->get);
        d->labels[i] = digit % DIGIT_ZERO;
    }
    return DT_OK;
}

static dt_status svhn_open_and_read(const dt_dataset_request *r, svhn_file *f, dt_dataset *d)
{
    const char *name = r->source->files[r->split][0];
    int64_t n = 0;

    f->get = r->source->info->get;
    DT_CHECK(dt_dataset_file(r->source, r->folder, name, f->path, &f->bytes), DT_ERR_IO, "%s/%s is not there",
             r->folder, name);
    DT_TRY(svhn_header(f));
    f->mat = Mat_Open(f->path, MAT_ACC_RDONLY);
    DT_CHECK(f->mat != NULL, DT_ERR_FORMAT, "%s: libmatio cannot open it; fetch it again: %s", f->path, f->get);
    DT_TRY(svhn_shape(f, &n));
    DT_TRY(dt_dataset_reserve(r->source, n, d));
    DT_TRY(svhn_images(f, d));
    DT_TRY(svhn_labels(f, d));
    return DT_OK;
}

dt_status dt_svhn_read(const dt_dataset_request *r, dt_dataset *d)
{
    svhn_file f = { .mat = NULL };
    const dt_status s = svhn_open_and_read(r, &f, d);

    Mat_VarFree(f.x);
    Mat_VarFree(f.y);
    if (f.mat != NULL) Mat_Close(f.mat);
    DT_TRY(s);
    return DT_OK;
}

#endif /* DETENT_HAVE_MATIO */
