# Libraries. Required: zlib, cJSON, libmd (SHA-256), libpng. The rest is optional, each with what its absence costs.
find_package(PkgConfig REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET GLOBAL libcjson)
pkg_check_modules(MD REQUIRED IMPORTED_TARGET GLOBAL libmd)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET GLOBAL libpng)
pkg_check_modules(MATIO IMPORTED_TARGET GLOBAL matio)

add_library(detent_dependencies INTERFACE)
target_link_libraries(detent_dependencies INTERFACE ZLIB::ZLIB PkgConfig::CJSON PkgConfig::MD PkgConfig::PNG
                                                    Threads::Threads m)
# The same for pkg-config: packages, and libraries that come without a file of it.
set(DETENT_PC_REQUIRES "")
set(DETENT_PC_LIBS " -pthread -lm")
function(detent_pc_library path)
  get_filename_component(folder ${path} DIRECTORY)
  get_filename_component(name ${path} NAME)
  set(DETENT_PC_LIBS "${DETENT_PC_LIBS} -L${folder} -l:${name}" PARENT_SCOPE)
endfunction()

if(OpenMP_C_FOUND)
  target_link_libraries(detent_dependencies INTERFACE OpenMP::OpenMP_C)
  string(APPEND DETENT_PC_LIBS " ${OpenMP_C_FLAGS}")
else() # one thread
  target_compile_options(detent_dependencies INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-Wno-unknown-pragmas>)
endif()
if(MATIO_FOUND) # else: no SVHN
  target_compile_definitions(detent_dependencies INTERFACE DETENT_HAVE_MATIO)
  target_link_libraries(detent_dependencies INTERFACE PkgConfig::MATIO)
  string(APPEND DETENT_PC_REQUIRES " matio")
endif()

set(DETENT_WITH_ONEDNN OFF)
if(NOT DETENT_ONEDNN STREQUAL "OFF")
  find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.h)
  find_library(DNNL_LIBRARY dnnl)
  if(DNNL_INCLUDE AND DNNL_LIBRARY)
    set(DETENT_WITH_ONEDNN ON)
    target_compile_definitions(detent_dependencies INTERFACE DETENT_HAVE_ONEDNN)
    target_include_directories(detent_dependencies SYSTEM INTERFACE ${DNNL_INCLUDE})
    target_link_libraries(detent_dependencies INTERFACE ${DNNL_LIBRARY})
    detent_pc_library(${DNNL_LIBRARY})
  elseif(DETENT_ONEDNN STREQUAL "ON")
    message(FATAL_ERROR "DETENT_ONEDNN is ON, but oneapi/dnnl/dnnl.h or libdnnl is missing: apt-get install libdnnl-dev")
  endif()
endif()
message(STATUS "oneDNN convolutions: ${DETENT_WITH_ONEDNN}")

include(cmake/cuda.cmake)

# What this project's own targets are made with.
add_library(detent_inside INTERFACE)
target_link_libraries(detent_inside INTERFACE detent_flags detent_dependencies)
if(DETENT_WITH_CUDA)
  target_link_libraries(detent_inside INTERFACE detent_cuda)
endif()
