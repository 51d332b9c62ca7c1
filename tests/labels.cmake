# How the tests of a folder are run; included at the end of its CMakeLists.txt.
#
# `./run test fast` is ctest -L fast: all that is in none of the first two lists, a minute of two cores. A test
# that takes more than 3 seconds (of a Xeon with VNNI, which does nothing else) belongs in the first.
set(slow
    simt_test_step_launches
    test_amx test_caps_route test_caps_route_simt test_capsnets test_capture test_clang_tidy test_cli
    test_cli_channels test_cli_compress test_cli_debug test_cli_device test_cli_device_shortage test_cli_files
    test_cli_network test_cli_numbers test_cli_power test_cli_qkeras test_cli_quantize test_cli_ranks
    test_cli_recipes test_cli_report test_cli_rescue test_cli_search test_cli_shortage test_cli_signals
    test_cli_study test_cli_sweep test_cli_train test_cli_vectors test_cli_wrong test_conv_simt test_cppcheck
    test_cudnn_plans test_cudnn_plans_forms test_dist_failures test_dist_meet test_docs test_evaluate_simt test_fixed_codes
    test_fixed_file test_fuse_values test_fuse_values_simt test_helgrind test_insert_range_train_simt test_lower test_memcheck
    test_metrics test_no_memory test_norm_quant_types_simt test_onnx_nodes test_origin test_oscillate_simt
    test_package test_peak_simt test_program test_program_c test_program_c_caps test_program_c_codes
    test_program_c_exact test_program_caps test_program_caps_simt test_program_json test_program_model
    test_program_model_simt test_program_reader test_program_v1 test_qcaps test_qcaps_integers test_ranks
    test_ranks_cuda_simt test_ranks_failures test_ranks_netns test_ranks_shares test_requant test_requantize_lines
    test_resume test_rtl test_rtl_caps test_signal_networks test_start_clips_simt test_steps test_trainer
    test_trainer_capsules_simt test_trainer_mean test_trainer_mean_simt test_trainer_simt test_trainer_steps_simt
    test_trainer_teacher test_trainer_teacher_simt test_vector_folder test_vector_readers test_verify
    test_verify_caps test_verify_caps_simt test_verify_simt test_vgg16)
# What runs a test once more, in another order, with other threads or at another level of CPU.
set(again "_descending$|_early$|_late$|_one_thread$|_by_tcp$|_int8_limit_|_at_(scalar|avx2|avx512|amx)$")
# What measures time, or hands over work by it, has the machine for itself.
set(alone test_cli_ranks test_cli_train test_dist_failures test_dist_failures_by_tcp test_helgrind test_ranks_failures
    test_ranks_netns test_resume test_stopwatch test_stopwatch_simt test_stopwatch_simt_descending)

get_property(tests DIRECTORY PROPERTY TESTS)
foreach(test IN LISTS tests)
  # Tests run side by side. A thread that waits must sleep: spinning, it takes a core from one that works (test_psum
  # took 26 s on 2 busy cores, and takes 0.3).
  set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT OMP_WAIT_POLICY=passive)
  if(NOT test IN_LIST slow AND NOT test MATCHES "${again}")
    set_property(TEST ${test} APPEND PROPERTY LABELS fast)
  endif()
  if(test IN_LIST slow)
    set_property(TEST ${test} PROPERTY COST 100) # they begin first, so that none is left alone at the end
  endif()
  if(test IN_LIST alone)
    set_property(TEST ${test} PROPERTY RUN_SERIAL TRUE)
  endif()
  # On a GPU tests share it, so that none times engines, and none leaves what it would have found.
  set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT DETENT_CACHE=)
endforeach()
