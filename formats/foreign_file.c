/*
 * foreign_file.c - the table of first bytes. Interface: foreign_file.h.
 *
 * Sources: torch.save's zip and pickle (torch/serialization.py), the specifications of HDF5, FlatBuffers' TFL3,
 * Git LFS. How an ONNX model begins is in onnx/onnx_model.c.
 */
#include "foreign_file.h"

#include "onnx/onnx_model.h"

#include <string.h>

#define CONVERT                                                                                                  \
    "convert its state_dict in Python: import torch, safetensors.torch as s; "                                   \
    "s.save_file(torch.load(FILE, map_location='cpu', weights_only=True), 'net.safetensors'), and give that to " \
    "'detent train --init'"

typedef struct {
    size_t at; /* where the bytes stand */
    const char *bytes;
    size_t n;
    const char *what;
} kind;

#define BYTES(text) text, sizeof text - 1

static const kind kinds[] = {
    { 0, BYTES("PK\3\4"), "is a zip archive, as torch.save makes it, and no safetensors file; " CONVERT },
    { 0, BYTES("\x80\2"), "is a pickle, as old versions of torch.save made it, and no safetensors file; " CONVERT },
    { 0, BYTES("\x80\3"), "is a pickle and no safetensors file; " CONVERT },
    { 0, BYTES("\x80\4"), "is a pickle and no safetensors file; " CONVERT },
    { 0, BYTES("\x80\5"), "is a pickle and no safetensors file; " CONVERT },
    { 0, BYTES("\x89HDF"),
      "is an HDF5 file, as Keras makes it; load it there, and save its weights by the names of "
      "'detent inspect' with safetensors.numpy.save_file" },
    { 4, BYTES("TFL3"), "is a TensorFlow Lite model, which has no weights to train on; take the network's checkpoint" },
    { 0, BYTES("version https://git-lfs"),
      "is a pointer of Git LFS and not the file itself; fetch that with 'git lfs "
      "pull'" },
    { 0, BYTES("\x1f\x8b"), "is a gzip archive; unpack it first" },
    { 0, BYTES("\x93NUMPY"), "is one NumPy array; save the parameters by name with safetensors.numpy.save_file" },
    { 0, BYTES("{"), "is JSON and no safetensors file; a network's file, which has no values, is given by --model" },
    { 0, BYTES("<"), "is a web page (HTML) or XML and no safetensors file; its download went wrong" },
};

const char *dt_foreign_file(const unsigned char *begin, size_t bytes)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const kind *k = &kinds[i];
        if (bytes >= k->at + k->n && memcmp(begin + k->at, k->bytes, k->n) == 0) return k->what;
    }
    return dt_onnx_is_head(begin, bytes) ? "is an ONNX model; 'detent import' makes a checkpoint of it" : NULL;
}
