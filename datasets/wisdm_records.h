/*
 * wisdm_records.h - records of both WISDM sets: subject,activity,time,x,y,z;
 */
#ifndef DT_WISDM_RECORDS_H
#define DT_WISDM_RECORDS_H

#include "text.h"

typedef struct {
    int32_t subject;
    const char *activity; /* in the file's memory */
    int64_t time;         /* nanoseconds */
    float value[3];
} dt_wisdm_record;

typedef enum { DT_WISDM_RECORD, DT_WISDM_DAMAGED, DT_WISDM_END } dt_wisdm_found;

/* Reads the next record, which ends at ';' or at the line's end. DAMAGED: it has not six fields that are there; then
 * *out means nothing. DT_ERR_FORMAT: a field is no number, or the file ends inside a record. */
DT_MUST_CHECK dt_status dt_wisdm_next(dt_text *t, dt_wisdm_record *out, dt_wisdm_found *found);

#endif /* DT_WISDM_RECORDS_H */
