# Strict warnings, as errors, for our own targets only.
function(stillsky_warnings target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
    if(STILLSKY_WERROR)
      target_compile_options(${target} PRIVATE -Werror)
    endif()
  endif()
endfunction()

option(STILLSKY_WERROR "Turn compiler warnings into errors" OFF)
