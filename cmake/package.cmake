# How other projects get the library: add_subdirectory, find_package(detent), pkg-config. All three give its headers, as
# <detent/detent.h>, and what it must be linked with; none gives the flags that it was compiled with.
file(GLOB public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/detent/*.h)
target_include_directories(libdetent INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
add_library(detent::detent ALIAS libdetent)

install(TARGETS libdetent detent)
install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/detent)
file(GLOB known_networks CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/models/*.json)
install(FILES ${known_networks} DESTINATION ${CMAKE_INSTALL_DATADIR}/detent/models)

# A shared library brings what it needs; a static one does not.
get_target_property(type libdetent TYPE)
set(private "")
if(type STREQUAL "SHARED_LIBRARY")
  set(private ".private")
endif()
set(DETENT_PC_NEEDS "Requires${private}: zlib libcjson libmd libpng${DETENT_PC_REQUIRES}\n")
if(private)
  string(APPEND DETENT_PC_NEEDS "Libs: -L\${libdir} -ldetent\nLibs.private:${DETENT_PC_LIBS}")
else()
  string(APPEND DETENT_PC_NEEDS "Libs: -L\${libdir} -ldetent${DETENT_PC_LIBS}")
endif()
file(RELATIVE_PATH DETENT_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # wherever it is installed
configure_file(${PROJECT_SOURCE_DIR}/cmake/detent.pc.in detent.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/detent.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

include(CMakePackageConfigHelpers)
write_basic_package_version_file(detentConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/detentConfig.cmake ${PROJECT_BINARY_DIR}/detentConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/detent)
