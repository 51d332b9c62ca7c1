# CUDA, cuDNN and cuBLASLt: from the system, from /usr/local/cuda, or from Python's nvidia-* wheels.
set(DETENT_WITH_CUDA OFF)
if(NOT DETENT_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER AND NOT ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${DETENT_CUDA_ARCHITECTURES})
  check_language(CUDA)

  # .../site-packages/nvidia/{cudnn,cublas,cu13,...}
  execute_process(COMMAND python3 -c "import nvidia; print(*nvidia.__path__, sep=';')"
                  OUTPUT_VARIABLE nvidia_wheels OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(cuda_roots /usr/local/cuda)
  foreach(root IN LISTS nvidia_wheels)
    file(GLOB folders ${root}/*)
    list(APPEND cuda_roots ${folders})
  endforeach()
  find_path(CUDNN_INCLUDE cudnn.h PATHS ${cuda_roots} PATH_SUFFIXES include)
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 PATHS ${cuda_roots} PATH_SUFFIXES lib lib64)
  find_path(CUBLASLT_INCLUDE cublasLt.h PATHS ${cuda_roots} PATH_SUFFIXES include)
  find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 libcublasLt.so.12 PATHS ${cuda_roots}
               PATH_SUFFIXES lib lib64)

  if(CMAKE_CUDA_COMPILER AND CUDNN_INCLUDE AND CUDNN_LIBRARY AND CUBLASLT_INCLUDE AND CUBLASLT_LIBRARY)
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    find_package(CUDAToolkit REQUIRED)
    set(DETENT_WITH_CUDA ON)
    add_library(detent_cuda INTERFACE)
    target_compile_definitions(detent_cuda INTERFACE DETENT_HAVE_CUDA)
    target_include_directories(detent_cuda SYSTEM INTERFACE ${CUDNN_INCLUDE} ${CUBLASLT_INCLUDE})
    target_link_libraries(detent_cuda INTERFACE CUDA::cudart ${CUDNN_LIBRARY} ${CUBLASLT_LIBRARY})
  elseif(DETENT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DETENT_CUDA is ON, but something is missing: nvcc '${CMAKE_CUDA_COMPILER}', cuDNN "
                        "'${CUDNN_INCLUDE}' '${CUDNN_LIBRARY}', cuBLASLt '${CUBLASLT_INCLUDE}' '${CUBLASLT_LIBRARY}'")
  endif()
endif()
message(STATUS "CUDA backend: ${DETENT_WITH_CUDA}")
