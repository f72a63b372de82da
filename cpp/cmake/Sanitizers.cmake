# STILLSKY_SANITIZE=address,undefined instruments everything built here.
# Run-time dispatch is off then: its resolvers run before the sanitizer runtime is ready.
if(STILLSKY_SANITIZE)
  add_compile_options(-fsanitize=${STILLSKY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${STILLSKY_SANITIZE})
  set(STILLSKY_SIMD OFF CACHE BOOL "" FORCE)
endif()
