/*
 * detent.h - the whole public interface; each header of this folder is a part of it.
 *
 * Rules that hold for every function here:
 *   - Failure is returned, never printed and never exit()ed; dt_last_error() has the text, dt_last_trace() the place.
 *   - The out-parameter is last and is written only on DT_OK.
 *   - Every _destroy/_close accepts NULL.
 *   - `bytes` counts bytes; `n` and `count` count elements or images.
 *   - Images are N,H,W,C; filters are K,R,S,C; host buffers are row-major.
 *   - A context and everything made from it belong to one thread at a time. Threads may each have a context of their
 *     own, at the same time; a dataset or a program that nobody changes may be read by several of them.
 *   - Destroying may be done in any order: a context lives until its last model is destroyed, a model until its last
 *     trainer is. What a _look or _get gave goes with the object that it was asked of.
 *   - A context's `threads` hold for its own work alone; the caller's OpenMP settings are left as they are. Results
 *     do not depend on the threads, nor on how many of them OpenMP grants.
 */
#ifndef DT_DETENT_H
#define DT_DETENT_H

#include "array.h"
#include "capture.h"
#include "checkpoint.h"
#include "context.h"
#include "dataset.h"
#include "evaluate.h"
#include "model.h"
#include "network.h"
#include "predict.h"
#include "qcaps.h"
#include "train.h"

#endif /* DT_DETENT_H */
