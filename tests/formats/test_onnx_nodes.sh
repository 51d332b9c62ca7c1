#!/bin/sh
# test_onnx_nodes.sh - the tests of operators that the Python package `onnx` ships, by scripts/onnx_node_tests.py.
#
# usage: test_onnx_nodes.sh PATH_OF_DETENT
#
# DETENT_PYTHON names the Python that has onnx; without one the test is skipped. 134 pass with onnx 1.23; packages of
# other years have a few more or fewer.
python=${DETENT_PYTHON:-python3}
command -v "$python" >/dev/null || {
    echo "[SKIP] the node tests: there is no $python"
    exit 77
}
exec "$python" "$(dirname "$0")/../../scripts/onnx_node_tests.py" "${1:?usage: $0 PATH_OF_DETENT}" --least 120
