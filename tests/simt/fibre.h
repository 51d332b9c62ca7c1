/*
 * fibre.h - a stack of one's own and a switch to it in a few instructions; the shim runs CUDA threads on these.
 *
 * A fibre lives until the process ends. Its entry function never returns: it parks by switching away. Works under
 * AddressSanitizer, which is told of every switch.
 */
#ifndef SIMT_FIBRE_H
#define SIMT_FIBRE_H

#include <cstddef>

namespace simt
{

struct fibre {
    void *resume_at;   /* where it was left: a stack pointer on x86-64, a ucontext_t elsewhere */
    void (*entry)();   /* what it runs first */
    const void *stack; /* lowest address; the host's own stack is known to AddressSanitizer only */
    std::size_t stack_bytes;
    void *sanitizer_frames; /* AddressSanitizer's book-keeping while the fibre does not run */
};

/* Maps a stack with a guard page below it. index spreads the stacks over the sets of the cache. */
fibre *fibre_create(void (*entry)(), unsigned index);

#ifdef __SANITIZE_ADDRESS__
/* Tell AddressSanitizer that `from` is about to leave for `to`, and that `self` has got the processor back. */
void fibre_leaves(fibre *from, const fibre *to);
void fibre_arrives(fibre *self);
#endif

/*
 * Saves where it is at *save and goes on where resume_at was saved. Inlined, with all that the scheduler does before
 * it, and by a jump: what makes a switch slow is a mispredicted return, of which this leaves at most one, the return
 * to the kernel.
 */
#ifdef __x86_64__
__attribute__((always_inline)) inline void swap_stacks(void **save, void *resume_at)
{
    /* The compiler saves the registers of the clobber list that it uses; rbp may not be listed. Vector registers are
     * not live here. The 128 bytes are the red zone, which the compiler may use without moving rsp. */
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%0)\n\t"
                     "movq %1, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "jmp *%%rax\n"
                     "1:\n\t"
                     "popq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+D"(save), "+S"(resume_at)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
                       "cc");
}
#else
void swap_stacks(void **save, void *resume_at); /* by swapcontext() */
#endif

/* Leaves `from`, the running fibre, and goes on with `to`; returns when something switches to `from` again. */
__attribute__((always_inline)) inline void fibre_switch(fibre *from, fibre *to)
{
#ifdef __SANITIZE_ADDRESS__
    fibre_leaves(from, to);
    swap_stacks(&from->resume_at, to->resume_at);
    fibre_arrives(from);
#else
    swap_stacks(&from->resume_at, to->resume_at);
#endif
}

} // namespace simt

#endif /* SIMT_FIBRE_H */
