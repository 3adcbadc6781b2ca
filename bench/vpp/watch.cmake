# Puts the benches' stop-watches (split.c) into a build of the product's plugin: given to its own
# CMakeLists.txt as CMAKE_PROJECT_INCLUDE, so that all else is as it is for the product.
#
#   vpp-plugin/*.c ─┐
#   split.c ────────┴► lib/vpp_plugins/margay_plugin.so, calls to the functions named passing split.c
set(BENCH_SPLIT ${CMAKE_CURRENT_LIST_DIR}/split.c)
cmake_language(DEFER CALL target_sources margay_plugin PRIVATE ${BENCH_SPLIT})
cmake_language(DEFER CALL target_link_options margay_plugin PRIVATE
  "-Wl,--wrap=margay_process" "-Wl,--wrap=wasmtime_func_new_unchecked")
