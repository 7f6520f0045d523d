"""CUDA kernels of the GPU runtime, each with its twin in numpy.

letterbox.cu    images to the network's input          letterbox_twin.py   the same in numpy
select.cu       the network's output to candidates     select_twin.py      the same in numpy
nms.cu          candidates to objects                  nms_twin.py         the same in numpy
keypoints.cu    the keypoints of the objects           keypoints_twin.py   the same in numpy
masks.cu        the masks of the objects, in bits      masks_twin.py       the same in numpy
widen.cu        FP16 outputs to FP32                   (numpy's astype)

A kernel is proven without a GPU: tests compile its source as host C++ and compare it with its twin, and the twin with
the runtime's own numpy code. `sources.py` gives its text, which `runtime.nvrtc.compile_cubin` compiles for a GPU and
`cache.py` keeps; `layouts.py`, `nms_layout.py` and `masks_layout.py` say what lies in device memory and how many
threads are launched.
"""
