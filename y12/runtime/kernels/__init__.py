"""CUDA kernels of the GPU runtime; each has a reference in numpy among the tests.

letterbox.cu    images to the network's input
select.cu       the network's output to candidates
nms.cu          candidates to objects
keypoints.cu    the keypoints of the objects
masks.cu        the masks of the objects, in bits
widen.cu        FP16 outputs to FP32

A kernel is proven without a GPU: tests compile its source as host C++ and compare it with its twin in
tests/runtime/kernels/references, and the twin with the runtime's own numpy code. `sources.py` gives its text, which
`nvrtc.compile_cubin` compiles for a GPU and `cache.py` keeps; `layouts.py`, `nms_layout.py` and
`masks_layout.py` say what lies in device memory and how many threads are launched.
"""
