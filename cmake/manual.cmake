# Completion for bash, zsh and fish, and the manual page: all are what the program says of itself.
if(DETENT_SANITIZE OR CMAKE_CROSSCOMPILING)
  return() # it cannot be run while it is being built
endif()
set(manual "")
function(detent_prints file folder) # words of the command
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/manual/${file} DEPENDS detent
    COMMAND detent ${ARGN} > ${PROJECT_BINARY_DIR}/manual/${file})
  list(APPEND manual ${PROJECT_BINARY_DIR}/manual/${file})
  set(manual ${manual} PARENT_SCOPE)
  install(FILES ${PROJECT_BINARY_DIR}/manual/${file} DESTINATION ${folder})
endfunction()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/manual)
# each where its shell finds it by the command's name
detent_prints(detent ${CMAKE_INSTALL_DATADIR}/bash-completion/completions completion bash)
detent_prints(_detent ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions completion zsh)
detent_prints(detent.fish ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d completion fish)
detent_prints(detent.1 ${CMAKE_INSTALL_MANDIR}/man1 manual)
add_custom_target(manual ALL DEPENDS ${manual})
