# The project's build rules: warnings as errors, the x86-64 baseline, one target per folder.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# -ffp-contract=off: a fused multiply-add happens where a kernel asks for one, never by the compiler's
# choice, so that results do not differ between builds.
# Other compilers than the project's have other warnings: FATHOM_WERROR.
option(FATHOM_WERROR "Warnings are errors" ON)
add_compile_options(-Wall -Wextra)
if(FATHOM_WERROR)
  add_compile_options(-Werror)
endif()
add_compile_options(-ffp-contract=off)
# Where files are compiled together (CMAKE_UNITY_BUILD), the constants of one are no outer scope of another.
add_compile_options($<IF:$<BOOL:${CMAKE_UNITY_BUILD}>,-Wshadow=local,-Wshadow>)
add_compile_definitions(_GLIBCXX_ASSERTIONS)

# fathom_folder(name DEPENDS targets...): src/<name> as the library fathom_<name>, and its x_test.cc files
# as the test binary fathom_<name>_test. DEPENDS lists what the folder may include (tools/check_layers.py
# holds the same table). A main.cc of cli, every x_module.cc, emulated_x.cc and open_x.cc belong to other targets.
function(fathom_folder name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_module|/(emulated|open)_[a-z]+)\\.cc$")
  if(name STREQUAL "cli")
    list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  endif()
  add_library(fathom_${name} STATIC ${sources})
  target_include_directories(fathom_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(fathom_${name} PUBLIC ${ARG_DEPENDS})
  if(tests)
    fathom_test(fathom_${name}_test SOURCES ${tests} DEPENDS fathom_${name})
  endif()
endfunction()

# fathom_test(name SOURCES files... DEPENDS targets...): a GoogleTest binary run as one ctest entry.
function(fathom_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gtest GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE FATHOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
endfunction()
