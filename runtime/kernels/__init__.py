"""CUDA kernels of the GPU runtime, each with its twin in numpy.

letterbox.cu    images to the network's input          letterbox_twin.py   the same in numpy
select.cu       the network's output to candidates     select_twin.py      the same in numpy
nms.cu          candidates to objects                  nms_twin.py         the same in numpy

A kernel is proven without a GPU: tests compile its source as host C++ and compare it with its twin, and the twin with
the runtime's own numpy code. `sources.py` gives its text, which `runtime.cuda.compile_cubin` compiles for a GPU and
`cache.py` keeps; `layouts.py` says what lies in device memory and how many threads are launched.
"""
