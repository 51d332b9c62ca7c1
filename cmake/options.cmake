# Options, and the flags that every target is compiled with.
set(DETENT_CUDA AUTO CACHE STRING "GPU backend: AUTO, ON, OFF")
set(DETENT_ONEDNN AUTO CACHE STRING "oneDNN convolutions: AUTO, ON, OFF")
set(DETENT_SANITIZE "" CACHE STRING "sanitizers, e.g. address,undefined")
set(DETENT_CUDA_ARCHITECTURES "80-real;90-real;100-real;120" CACHE STRING "GPUs to compile for")
set(DETENT_TESTS ALL CACHE STRING "tests: ALL, or DEVICE, those that show something on a GPU alone")
set_property(CACHE DETENT_TESTS PROPERTY STRINGS ALL DEVICE)
if(NOT DETENT_TESTS MATCHES "^(ALL|DEVICE)$")
  message(FATAL_ERROR "DETENT_TESTS is '${DETENT_TESTS}'; it is ALL or DEVICE")
endif()
option(DETENT_NATIVE "Tune for this machine's CPU" ON)
option(DETENT_WERROR "Warnings are errors" OFF)
option(DETENT_CHECK_RANGES "Integers that leave their declared range, and sums and shifts that overflow, end the process" OFF)

add_library(detent_flags INTERFACE)
target_compile_definitions(detent_flags INTERFACE _GNU_SOURCE)
target_include_directories(detent_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
set(on_host "$<COMPILE_LANGUAGE:C,CXX>")
# Messages name files from the source folder on, wherever that lay when it was built.
set(plain_paths -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
target_compile_options(detent_flags INTERFACE
  $<${on_host}:${plain_paths}> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${plain_paths}>)
# No product is fused with a sum, so that CPU and GPU round alike; errno and traps of the maths functions are not read.
target_compile_options(detent_flags INTERFACE
  $<${on_host}:-ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Wshadow>
  $<$<COMPILE_LANGUAGE:C>:-Wconversion -Wpointer-arith>
  # clang: {.a = b} and {a, .b = c} too leave the rest 0; a loop that it makes no vectors of (omp simd) is no fault
  $<$<COMPILE_LANG_AND_ID:C,Clang>:-Wno-missing-field-initializers -Wno-pass-failed>
  $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers> # as C, where {a, b} leaves the rest 0
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers>)
if(DETENT_WERROR)
  target_compile_options(detent_flags INTERFACE $<${on_host}:-Werror>)
endif()
if(DETENT_NATIVE)
  target_compile_options(detent_flags INTERFACE $<${on_host}:-march=native>)
endif()
if(DETENT_SANITIZE)
  target_compile_options(detent_flags INTERFACE
    $<${on_host}:-fsanitize=${DETENT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(detent_flags INTERFACE -fsanitize=${DETENT_SANITIZE})
endif()
if(DETENT_CHECK_RANGES) # core/declared.h
  set(overflow signed-integer-overflow,shift)
  target_compile_definitions(detent_flags INTERFACE DETENT_CHECK_RANGES)
  target_compile_options(detent_flags INTERFACE $<${on_host}:-fsanitize=${overflow} -fno-sanitize-recover=${overflow}>)
  target_link_options(detent_flags INTERFACE -fsanitize=${overflow})
endif()
set(CMAKE_C_FLAGS_RELEASE "-O3")
