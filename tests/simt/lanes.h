/*
 * lanes.h - work that waits for its turn: what was issued on a stream, or recorded from one, in the order of
 * SIMT_STREAMS (stream.cc says what that is).
 */
#ifndef SIMT_LANES_H
#define SIMT_LANES_H

#include <cassert>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

typedef std::function<void()> work;

enum schedule { NOW, EARLY, LATE };

static inline schedule wished_schedule()
{
    const char *const wish = getenv("SIMT_STREAMS");

    if (!wish || strcmp(wish, "now") == 0) return NOW;
    return strcmp(wish, "early") == 0 ? EARLY : LATE;
}

static inline schedule schedule_now()
{
    static const schedule wished = wished_schedule();
    return wished;
}

/* Work, or without it a wait for the first `position` tasks of another lane. */
struct lane;
struct task {
    work run;
    lane *other;
    unsigned long position;
};

/* What was issued on a stream, or on the part of a graph that was recorded from one. */
struct lane {
    std::deque<task> list;
    unsigned long issued = 0, done = 0;
    bool runs = false;

    void issue(task t)
    {
        list.push_back(std::move(t));
        issued++;
    }
};

typedef std::vector<lane *> lanes;

static inline void advance(const lanes &all, lane *l, unsigned long position);

static inline void run_first(const lanes &all, lane *l)
{
    const task t = std::move(l->list.front());

    l->list.pop_front();
    if (t.run)
        t.run();
    else
        advance(all, t.other, t.position);
    l->done++;
}

static inline bool is_ready(const lane *l)
{
    return !l->runs && !l->list.empty() &&
           (l->list.front().run || l->list.front().other->done >= l->list.front().position);
}

static inline void run_ready(const lanes &all)
{
    for (lane *l : all) {
        while (is_ready(l)) {
            l->runs = true;
            run_first(all, l);
            l->runs = false;
        }
    }
}

/* Runs the first `position` tasks of l. */
static inline void advance(const lanes &all, lane *l, unsigned long position)
{
    if (l->done >= position) return;
    assert(!l->runs); /* else streams wait for each other in a ring */
    l->runs = true;
    while (l->done < position) {
        if (schedule_now() == EARLY) run_ready(all);
        run_first(all, l);
    }
    l->runs = false;
}

#endif /* SIMT_LANES_H */
