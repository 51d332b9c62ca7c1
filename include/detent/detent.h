/*
 * detent.h - the whole public interface; each header of this folder is a part of it.
 *
 * Rules that hold for every function here:
 *   - A failure is returned as a dt_status. No function prints it or exits. dt_last_error() has the text of the last
 *     failure, and dt_last_trace() its place.
 *   - Out-parameters are last and are written only on DT_OK.
 *   - Every _destroy and _close accepts NULL.
 *   - `bytes` counts bytes; `n` and `count` count elements or images.
 *   - Images are N,H,W,C (batch, height, width, channels) and filters K,R,S,C (filters, height, width, channels). Host
 *     buffers are row-major.
 *   - A context and everything made from it belong to one thread at a time. Several threads may each have a context of
 *     their own. They may read the same dataset or program, as long as nobody changes it.
 *   - Objects may be destroyed in any order: a context lives until its last model is destroyed, and a model until its
 *     last trainer is. A pointer that a _look or _get function gave is valid as long as the object that it came from.
 *   - A context's `threads` hold for its own work alone, and the caller's OpenMP settings stay as they are. Results do
 *     not depend on the number of threads, nor on how many of them OpenMP grants.
 */
#ifndef DT_DETENT_H
#define DT_DETENT_H

#include "array.h"
#include "capture.h"
#include "checkpoint.h"
#include "compress.h"
#include "context.h"
#include "dataset.h"
#include "debugger.h"
#include "dist.h"
#include "evaluate.h"
#include "inventory.h"
#include "metrics.h"
#include "model.h"
#include "network.h"
#include "predict.h"
#include "qcaps.h"
#include "quantize.h"
#include "recipe.h"
#include "search.h"
#include "rescue.h"
#include "train.h"

#endif /* DT_DETENT_H */
