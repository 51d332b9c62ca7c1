# Completion for bash, and where help2man is a manual page: both are what the program says of itself.
if(DETENT_SANITIZE OR CMAKE_CROSSCOMPILING)
  return() # it cannot be run while it is being built
endif()
set(completion ${PROJECT_BINARY_DIR}/completion/detent) # bash finds it by the command's name
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/completion)
add_custom_command(OUTPUT ${completion} COMMAND detent completion > ${completion} DEPENDS detent)
set(manual ${completion})
install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

find_program(HELP2MAN help2man)
if(HELP2MAN)
  set(page ${PROJECT_BINARY_DIR}/detent.1)
  add_custom_command(OUTPUT ${page} DEPENDS detent
    COMMAND ${HELP2MAN} --no-info --name "trains networks that compute on integers" --output ${page} $<TARGET_FILE:detent>)
  list(APPEND manual ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
add_custom_target(manual ALL DEPENDS ${manual})
