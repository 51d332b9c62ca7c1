/*
 * test_foreign_file.c - files of other kinds in place of a safetensors file: named, with what to do.
 */
#include "../support/temp_files.h"

#include "../../formats/safetensors.h"

TestSuite(foreign_file, .init = temp_make, .fini = temp_remove);

static const struct {
    const char *why;
    const char *begin;
    size_t n;
    const char *parts[2];
} rows[] = {
    { "torch.save",
      "PK\3\4\0\0\10\10\0\0\0\0",
      12,
      { "is a zip archive, as torch.save makes it", "safetensors.torch" } },
    { "old torch.save",
      "\x80\2\x8a\nl\xfc\x9c"
      "F\xf9 j\xa8",
      12,
      { "is a pickle, as old versions of torch.save", "--init" } },
    { "pickle", "\x80\4\x95\0\0\1\0\0\0\0\0\0", 12, { "is a pickle", "weights_only=True" } },
    { "HDF5", "\x89HDF\r\n\x1a\n", 8, { "is an HDF5 file, as Keras", "safetensors.numpy" } },
    { "TFLite", "\x1c\0\0\0TFL3", 8, { "is a TensorFlow Lite model", "checkpoint" } },
    { "ONNX", "\x08\x07\x12\x07pytorch", 11, { "is an ONNX model", "detent import" } },
    { "LFS",
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
      58,
      { "is a pointer of Git LFS", "git lfs pull" } },
    { "gzip", "\x1f\x8b\x08\0\0\0\0\0\0\3", 10, { "is a gzip archive", "unpack it" } },
    { "NumPy", "\x93NUMPY\1\0v\0", 10, { "is one NumPy array", "by name" } },
    { "HTML", "<!DOCTYPE html><html>", 21, { "is a web page (HTML)", "download" } },
    { "neither", "what is this, then?", 19, { "not a safetensors file, or cut short", "header length is" } },
};

Test(foreign_file, is_named_with_the_way_out)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char file[200] = "";
        dt_safetensors *f;

        memcpy(file, rows[i].begin, rows[i].n);
        temp_write("net", file, sizeof file);
        cr_assert(eq(int, (int)dt_safetensors_open(temp_path("net"), &f), (int)DT_ERR_FORMAT), "%s", rows[i].why);
        for (int k = 0; k < 2; k++) {
            cr_assert(strstr(dt_last_error(), rows[i].parts[k]) != NULL, "%s: no '%s' in '%s'", rows[i].why,
                      rows[i].parts[k], dt_last_error());
        }
        cr_assert(strstr(dt_last_error(), temp_path("net")) != NULL, "%s", rows[i].why);
    }
}
