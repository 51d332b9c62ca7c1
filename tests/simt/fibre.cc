/*
 * fibre.cc - makes fibres; fibre.h switches them, in 10 instructions on x86-64, by ucontext elsewhere.
 */
#include "fibre.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace simt
{

#ifdef __SANITIZE_ADDRESS__

static const std::size_t stack_bytes = 256 * 1024; /* the sanitizer's frames keep their locals apart */
static fibre *left;                                /* the fibre that left last: whoever arrives came from it */
static const fibre *coming;                        /* the fibre that it left for */

void fibre_leaves(fibre *from, const fibre *to)
{
    left = from;
    coming = to;
    __sanitizer_start_switch_fiber(&from->sanitizer_frames, to->stack, to->stack_bytes);
}

void fibre_arrives(fibre *self)
{
    __sanitizer_finish_switch_fiber(self->sanitizer_frames, &left->stack, &left->stack_bytes);
}

/* A fibre's first arrival. */
static void begin()
{
    __sanitizer_finish_switch_fiber(nullptr, &left->stack, &left->stack_bytes);
    coming->entry();
}

static void (*first_of(const fibre *))()
{
    return begin;
}

#else

static const std::size_t stack_bytes = 64 * 1024;

static void (*first_of(const fibre *f))()
{
    return f->entry;
}

#endif

#ifdef __x86_64__

/* resume_at is a stack pointer; on top of the stack lies the address to jump to. */
static void prepare(fibre *f, char *stack_top)
{
    auto *words = reinterpret_cast<std::uintptr_t *>(stack_top);

    *--words = 0; /* the entry finds the stack as after a call: a return address, 8 bytes below a multiple of 16 */
    *--words = reinterpret_cast<std::uintptr_t>(first_of(f));
    f->resume_at = words;
}

#else

void swap_stacks(void **save, void *resume_at)
{
    if (!*save) *save = new ucontext_t; /* the host's own stack, left for the first time */
    swapcontext(static_cast<ucontext_t *>(*save), static_cast<ucontext_t *>(resume_at));
}

static void prepare(fibre *f, char *stack_top)
{
    auto *context = new ucontext_t;

    getcontext(context);
    context->uc_stack.ss_sp = const_cast<void *>(f->stack);
    context->uc_stack.ss_size = static_cast<std::size_t>(stack_top - static_cast<const char *>(f->stack));
    context->uc_link = nullptr;
    makecontext(context, first_of(f), 0);
    f->resume_at = context;
}

#endif

fibre *fibre_create(void (*entry)(), unsigned index)
{
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t colour = index * 5 % 64 * 64; /* bytes; stacks that start alike in their page share cache sets */
    void *const map = mmap(nullptr, page + stack_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *const low = static_cast<char *>(map) + page;

    if (map == MAP_FAILED || mprotect(low, stack_bytes, PROT_READ | PROT_WRITE)) {
        perror("simt: no memory for a fibre's stack");
        abort();
    }
    auto *f = new fibre{ nullptr, entry, low, stack_bytes, nullptr };
    prepare(f, low + stack_bytes - colour);
    return f;
}

} // namespace simt
