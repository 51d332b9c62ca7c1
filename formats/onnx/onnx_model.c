/*
 * onnx_model.c - see onnx_model.h.
 *
 * A protobuf has no first bytes of its own. An ONNX model begins with its IR version, field 1, and then one of its
 * other fields. Eight bytes of a safetensors file's length may look so, but their last five are zeros.
 */
#include "onnx_model.h"

#include "onnx_import.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 8, FIRST_TAG = 0x08, NEWEST_IR = 31, OLDEST_IR = 3 };

int dt_onnx_is_head(const unsigned char *begin, size_t bytes)
{
    static const char tags[] = "\x12\x1a\x22\x28\x32\x3a\x42\x72"; /* of ModelProto's other fields */
    static const char zeros[5] = { 0 };

    if (bytes < HEAD_BYTES || begin[0] != FIRST_TAG || begin[1] < OLDEST_IR || begin[1] > NEWEST_IR) return 0;
    return begin[2] != 0 && strchr(tags, begin[2]) && memcmp(begin + 3, zeros, sizeof zeros) != 0;
}

int dt_onnx_is_file(const char *path)
{
    const size_t n = strlen(path), end = strlen(".onnx");
    unsigned char head[HEAD_BYTES];
    struct stat is;

    if (stat(path, &is) != 0 || !S_ISREG(is.st_mode)) return 0;
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    const size_t bytes = fread(head, 1, sizeof head, file);
    fclose(file);
    return dt_onnx_is_head(head, bytes) || (n > end && strcmp(path + n - end, ".onnx") == 0);
}

dt_status dt_onnx_kind(const char *path, int *is_integer)
{
    dt_onnx *file;

    DT_TRY(dt_onnx_read(path, &file));
    *is_integer = dt_onnx_is_integer(file);
    dt_onnx_destroy(file);
    return DT_OK;
}

/* Metadata count where they say all: the data set, and both lists of numbers. */
static void check_origin(dt_onnx *file)
{
    if (!file->origin.name[0] || !(file->origin.std[0] > 0.0f)) file->origin = (dt_data_origin){ .name = "" };
}

dt_status dt_onnx_file_graph(const char *path, int as_network, dt_exchange_network *out)
{
    dt_exchange_network network = { .graph = NULL };
    dt_onnx *file;

    DT_TRY(dt_onnx_read(path, &file));
    check_origin(file);
    file->as_network = as_network;
    network.origin = file->origin;
    const dt_status status = dt_onnx_graph(file, &network.graph, &network.is_integer);
    dt_onnx_destroy(file);
    DT_TRY(status);
    *out = network;
    return DT_OK;
}
